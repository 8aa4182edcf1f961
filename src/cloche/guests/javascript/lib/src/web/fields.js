// Fields of headers in JavaScript, for an engine that has not what ours has (guest.c).

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const BLANK = /^[\t\n\r ]+|[\t\n\r ]+$/g;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** A name in lowercase, or undefined if it is none. */
export const fieldName = (text) => (NAME.test(text) ? text.toLowerCase() : undefined);

/** A value without blanks around it, or undefined if it is none. */
export function fieldValue(text) {
  const value = text.replace(BLANK, "");
  return VALUE.test(value) ? value : undefined;
}
