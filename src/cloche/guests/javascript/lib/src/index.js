// The library of the JavaScript guest: evaluated once, when the image is made.

import { hide } from "./web/globals.js";
import { URL, URLSearchParams } from "./web/url.js";
import { beginRun, publish } from "./host.js";
import { Buffer } from "./node/buffer.js";
import { getModule, isBuiltin, modules, unavailable } from "./node/modules.js";
import { emitExit, process } from "./node/process.js";

hide("URL", URL);
hide("URLSearchParams", URLSearchParams);
hide("Buffer", Buffer);
hide("process", process);

publish({ beginRun, emitExit, getModule, isBuiltin, modules, process, unavailable });
