// node:string_decoder: text from bytes that arrive in pieces.

import decoder from "string_decoder/";

export const { StringDecoder } = decoder;
export default { StringDecoder };
