/*
 * The JavaScript guest: quickjs-ng behind one input buffer, one turn and one gate.
 *
 * What is here is what only C can do: calling the host, evaluating source, running jobs, loading
 * modules. Everything that a program sees is made by the prelude (prelude/), in JavaScript.
 *
 * Exports (guest ABI, version 1): cloche_init, cloche_prelude, cloche_seal, cloche_alloc,
 *          cloche_turn.
 * Imports: cloche.gate(operation, pointer, length) -> length of the reply or -errno,
 *          cloche.gate_read(pointer).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "quickjs.c"

#define IMPORT(name) __attribute__((import_module("cloche"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

IMPORT("gate") extern int32_t gate(int32_t operation, const void *pointer, int32_t length);
IMPORT("gate_read") extern void gate_read(void *pointer);

/* Added to an operation: a reply that is no longer than the payload is put in its place. */
#define REPLY_IN_PLACE 0x100
#define IN_PLACE_BYTES_MAX 512

enum { OP_OUT_OF_MEMORY = 6, OP_CLOCK = 18, OP_SLEEP = 20 };

/* The engine measures the stack in linear memory (see build.py for its size), but the machine's own
 * stack ends a turn too, and some native recursion takes more of that. 2 MiB here is about 6500
 * calls of a small function and stays below 8 MiB of machine stack. */
#define STACK_LIMIT_BYTES (2 * 1024 * 1024)

/* The engine keeps small blocks of one size together in arenas of this size. */
#define ARENA_BYTES (4096 - 64) /* the C library rounds up to powers of two */
#define SEALED_ARENA_BYTES (1024 - 64)
#define ARENA_BLOCK_BYTES_MAX 504 /* and 8 of the engine's */
#define HOLE_SIZE_MAX (1 << 15)
#define HOLE_SIZE_MIN 8
#define GARBAGE_BYTES (1 << 20) /* until the first collection of a run */
#define ROOM_PAGE_COUNT 16 /* for a run, before memory has to grow */
#define ROOM_PAGE_COUNT_MAX 24
#define WASM_PAGE_BYTES 65536
unsigned int cloche_arena_bytes = ARENA_BYTES;

static JSRuntime *runtime;
static JSContext *context;
static JSValue internal;      /* shared by the prelude's files */
static char *input;           /* of the turn */
static size_t input_capacity;
static uint32_t request_count; /* of memory, by the engine */

/* ---- memory: running out of it ends the run, a program cannot catch it ---- */

static void *checked(void *pointer) {
    if (!pointer)
        gate(OP_OUT_OF_MEMORY, NULL, 0); /* does not return */
    return pointer;
}

static void *guest_calloc(void *opaque, size_t count, size_t size) {
    (void)opaque;
    request_count++;
    return checked(calloc(count, size));
}

static void *guest_malloc(void *opaque, size_t size) {
    (void)opaque;
    request_count++;
    return checked(malloc(size ? size : 1));
}

static void guest_free(void *opaque, void *pointer) {
    (void)opaque;
    free(pointer);
}

static void *guest_realloc(void *opaque, void *pointer, size_t size) {
    (void)opaque;
    if (!size) {
        free(pointer);
        return NULL;
    }
    return checked(realloc(pointer, size));
}

static size_t guest_usable_size(const void *pointer) {
    (void)pointer;
    return 0; /* nobody reads the engine's own statistics */
}

static const JSMallocFunctions allocator = {
    guest_calloc, guest_malloc, guest_free, guest_realloc, guest_usable_size,
};

/* ---- natives of the prelude ---- */

/* call(operation, text | Uint8Array) -> Uint8Array | negative errno */
static JSValue native_call(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    int32_t operation, length;
    (void)self;
    (void)argc;
    if (JS_ToInt32(ctx, &operation, argv[0]))
        return JS_EXCEPTION;
    if (JS_IsString(argv[1])) {
        size_t size;
        const char *text = JS_ToCStringLen(ctx, &size, argv[1]);
        if (!text)
            return JS_EXCEPTION;
        length = gate(operation, text, (int32_t)size);
        JS_FreeCString(ctx, text);
    } else {
        size_t size = 0;
        uint8_t *bytes = JS_GetUint8Array(ctx, &size, argv[1]);
        if (!bytes && size)
            return JS_EXCEPTION;
        length = gate(operation, bytes, (int32_t)size);
    }
    if (length < 0)
        return JS_NewInt32(ctx, length);
    if (length == 0)
        return JS_NewUint8ArrayCopy(ctx, NULL, 0);
    uint8_t *reply = js_malloc(ctx, (size_t)length);
    gate_read(reply);
    JSValue value = JS_NewUint8ArrayCopy(ctx, reply, (size_t)length);
    js_free(ctx, reply);
    return value;
}

/* ask(operation, text) -> text: the same for JSON both ways, without arrays of bytes */
static JSValue native_ask(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    int32_t operation;
    size_t size;
    (void)self;
    (void)argc;
    if (JS_ToInt32(ctx, &operation, argv[0]))
        return JS_EXCEPTION;
    const char *text = JS_ToCStringLen(ctx, &size, argv[1]);
    if (!text)
        return JS_EXCEPTION;
    char small[IN_PLACE_BYTES_MAX]; /* not the text itself, which may be that of the string */
    bool in_place = size <= sizeof small;
    if (in_place)
        memcpy(small, text, size);
    int32_t length = gate(in_place ? operation | REPLY_IN_PLACE : operation,
                          in_place ? small : text, (int32_t)size);
    JS_FreeCString(ctx, text);
    if (in_place && length > 0 && (size_t)length <= size)
        return JS_NewStringLen(ctx, small, (size_t)length);
    if (length <= 0)
        return length ? JS_NewInt32(ctx, length) : JS_UNDEFINED;
    char *reply = js_malloc(ctx, (size_t)length);
    gate_read(reply);
    JSValue value = JS_NewStringLen(ctx, reply, (size_t)length);
    js_free(ctx, reply);
    return value;
}

/* clock() -> microseconds of the virtual clock since 1970, exact in a double until 2255 */
static JSValue native_clock(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint64_t now_ns = 0;
    (void)self;
    (void)argc;
    (void)argv;
    gate(OP_CLOCK, NULL, 0);
    gate_read(&now_ns);
    return JS_NewFloat64(ctx, (double)(now_ns / 1000));
}

/* sleepUntil(microseconds) */
static JSValue native_sleep_until(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    double time_us;
    (void)self;
    (void)argc;
    if (JS_ToFloat64(ctx, &time_us, argv[0]))
        return JS_EXCEPTION;
    uint64_t time_ns = time_us > 9.2e15 ? (uint64_t)INT64_MAX : (uint64_t)time_us * 1000;
    gate(OP_SLEEP, &time_ns, sizeof time_ns);
    return JS_UNDEFINED;
}

static JSValue native_encode_utf8(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    size_t size;
    (void)self;
    (void)argc;
    const char *text = JS_ToCStringLen(ctx, &size, argv[0]);
    if (!text)
        return JS_EXCEPTION;
    JSValue value = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, size);
    JS_FreeCString(ctx, text);
    return value;
}

/* evaluate(source, filename, flags, firstLine) -> value; flags are the engine's */
static JSValue native_evaluate(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    int32_t flags, line;
    size_t size;
    (void)self;
    (void)argc;
    if (JS_ToInt32(ctx, &flags, argv[2]) || JS_ToInt32(ctx, &line, argv[3]))
        return JS_EXCEPTION;
    const char *source = JS_ToCStringLen(ctx, &size, argv[0]);
    if (!source)
        return JS_EXCEPTION;
    const char *filename = JS_ToCString(ctx, argv[1]);
    if (!filename) {
        JS_FreeCString(ctx, source);
        return JS_EXCEPTION;
    }
    JSEvalOptions options = {
        .version = JS_EVAL_OPTIONS_VERSION,
        .eval_flags = flags,
        .filename = filename,
        .line_num = line,
    };
    JSValue value = JS_Eval2(ctx, source, size, &options);
    JS_FreeCString(ctx, filename);
    JS_FreeCString(ctx, source);
    return value;
}

/* run(compiled module) -> promise; the module's import.meta gets the properties of the second */
static JSValue native_run_module(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    JSModuleDef *module = JS_VALUE_GET_PTR(argv[0]);
    JSValue meta = JS_GetImportMeta(ctx, module);
    JSValue set = JS_GetPropertyStr(ctx, internal, "fillMeta");
    JSValue done = JS_Call(ctx, set, JS_UNDEFINED, 1, (JSValueConst[]){meta});
    JS_FreeValue(ctx, set);
    JS_FreeValue(ctx, meta);
    if (JS_IsException(done))
        return done;
    JS_FreeValue(ctx, done);
    return JS_EvalFunction(ctx, JS_DupValue(ctx, argv[0]));
}

/* compileModule(source, filename) -> promise of its evaluation; a syntax error is thrown */
static JSValue native_evaluate_module(JSContext *ctx, JSValueConst self, int argc,
                                      JSValueConst *argv) {
    size_t size;
    (void)self;
    (void)argc;
    const char *source = JS_ToCStringLen(ctx, &size, argv[0]);
    if (!source)
        return JS_EXCEPTION;
    const char *filename = JS_ToCString(ctx, argv[1]);
    if (!filename) {
        JS_FreeCString(ctx, source);
        return JS_EXCEPTION;
    }
    JSValue compiled = JS_Eval(ctx, source, size, filename,
                               JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(ctx, filename);
    JS_FreeCString(ctx, source);
    if (JS_IsException(compiled))
        return compiled;
    JSValue promise = native_run_module(ctx, JS_UNDEFINED, 1, (JSValueConst[]){compiled});
    JS_FreeValue(ctx, compiled);
    return promise;
}

/* drain(onError): run every job; an error of one goes to onError and the others still run */
static JSValue native_drain(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    JSContext *where;
    int status;
    (void)self;
    (void)argc;
    while ((status = JS_ExecutePendingJob(runtime, &where)) != 0) {
        if (status > 0)
            continue;
        JSValue error = JS_GetException(where);
        if (JS_IsUncatchableError(error))
            return JS_Throw(ctx, error);
        JSValue result = JS_Call(ctx, argv[0], JS_UNDEFINED, 1, (JSValueConst[]){error});
        JS_FreeValue(ctx, error);
        if (JS_IsException(result))
            return result;
        JS_FreeValue(ctx, result);
    }
    return JS_UNDEFINED;
}

/* leave(): end the turn from wherever the program is; nothing in it can catch this */
static JSValue native_leave(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    (void)argv;
    JSValue error = JS_NewObjectClass(ctx, JS_CLASS_ERROR);
    if (JS_IsException(error))
        return error;
    /* Nobody reads where it was made, which takes longer to find out than all the rest. */
    JS_VALUE_GET_OBJ(error)->u.object_data = JS_NULL;
    if (JS_IsUndefined(ctx->error_back_trace))
        ctx->error_back_trace = JS_NULL;
    JS_SetUncatchableError(ctx, error);
    return JS_Throw(ctx, error);
}

/* promiseState(promise) -> 0 pending, 1 fulfilled, 2 rejected */
static JSValue native_promise_state(JSContext *ctx, JSValueConst self, int argc,
                                    JSValueConst *argv) {
    (void)self;
    (void)argc;
    return JS_NewInt32(ctx, (int32_t)JS_PromiseState(ctx, argv[0]));
}

static JSValue native_promise_result(JSContext *ctx, JSValueConst self, int argc,
                                     JSValueConst *argv) {
    (void)self;
    (void)argc;
    return JS_PromiseResult(ctx, argv[0]);
}

#include "web.c"

static const JSCFunctionListEntry natives[] = {
    JS_CFUNC_DEF("call", 2, native_call),
    JS_CFUNC_DEF("ask", 2, native_ask),
    JS_CFUNC_DEF("clock", 0, native_clock),
    JS_CFUNC_DEF("sleepUntil", 1, native_sleep_until),
    JS_CFUNC_DEF("encodeUtf8", 1, native_encode_utf8),
    JS_CFUNC_DEF("fieldLines", 3, native_field_lines),
    JS_CFUNC_DEF("fieldName", 1, native_field_name),
    JS_CFUNC_DEF("fieldValue", 1, native_field_value),
    JS_CFUNC_DEF("latin1", 3, native_latin1),
    JS_CFUNC_DEF("plainUrl", 1, native_plain_url),
    JS_CFUNC_DEF("quote", 1, native_quote),
    JS_CFUNC_DEF("evaluate", 4, native_evaluate),
    JS_CFUNC_DEF("evaluateModule", 2, native_evaluate_module),
    JS_CFUNC_DEF("leave", 0, native_leave),
    JS_CFUNC_DEF("drain", 1, native_drain),
    JS_CFUNC_DEF("promiseState", 1, native_promise_state),
    JS_CFUNC_DEF("promiseResult", 1, native_promise_result),
};

/* ---- modules: the prelude resolves and reads, C only asks it ---- */

static char *normalize_module(JSContext *ctx, const char *base, const char *name, void *opaque) {
    (void)opaque;
    JSValue function = JS_GetPropertyStr(ctx, internal, "resolveModule");
    JSValue arguments[2] = {JS_NewString(ctx, base), JS_NewString(ctx, name)};
    JSValue result = JS_Call(ctx, function, JS_UNDEFINED, 2, (JSValueConst *)arguments);
    JS_FreeValue(ctx, arguments[0]);
    JS_FreeValue(ctx, arguments[1]);
    JS_FreeValue(ctx, function);
    if (JS_IsException(result))
        return NULL;
    const char *text = JS_ToCString(ctx, result);
    JS_FreeValue(ctx, result);
    char *copy = text ? js_strdup(ctx, text) : NULL;
    JS_FreeCString(ctx, text);
    return copy;
}

static int init_object_module(JSContext *ctx, JSModuleDef *module) {
    JSValue exports = JS_GetModulePrivateValue(ctx, module);
    JSPropertyEnum *names = NULL;
    uint32_t count = 0;
    int status = JS_GetOwnPropertyNames(ctx, &names, &count, exports,
                                        JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY);
    for (uint32_t index = 0; index < count && !status; index++) {
        const char *name = JS_AtomToCString(ctx, names[index].atom);
        JSValue value = JS_GetProperty(ctx, exports, names[index].atom);
        status = !name || JS_IsException(value) || JS_SetModuleExport(ctx, module, name, value);
        JS_FreeCString(ctx, name);
    }
    JS_FreePropertyEnum(ctx, names, count);
    JS_FreeValue(ctx, exports);
    return status ? -1 : 0;
}

/* A module whose exports are the properties of an object (builtins, CommonJS, JSON). */
static JSModuleDef *object_module(JSContext *ctx, const char *module_name, JSValue exports) {
    JSModuleDef *module = JS_NewCModule(ctx, module_name, init_object_module);
    JSPropertyEnum *names = NULL;
    uint32_t count = 0;
    if (!module || JS_GetOwnPropertyNames(ctx, &names, &count, exports,
                                          JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY)) {
        JS_FreeValue(ctx, exports);
        return NULL;
    }
    for (uint32_t index = 0; index < count; index++) {
        const char *name = JS_AtomToCString(ctx, names[index].atom);
        JS_AddModuleExport(ctx, module, name);
        JS_FreeCString(ctx, name);
    }
    JS_FreePropertyEnum(ctx, names, count);
    JS_SetModulePrivateValue(ctx, module, exports);
    return module;
}

static JSModuleDef *load_module(JSContext *ctx, const char *name, void *opaque) {
    (void)opaque;
    JSValue function = JS_GetPropertyStr(ctx, internal, "loadModule");
    JSValue argument = JS_NewString(ctx, name);
    JSValue result = JS_Call(ctx, function, JS_UNDEFINED, 1, (JSValueConst *)&argument);
    JS_FreeValue(ctx, argument);
    JS_FreeValue(ctx, function);
    if (JS_IsException(result))
        return NULL;
    if (!JS_IsString(result))
        return object_module(ctx, name, result);
    size_t size;
    const char *source = JS_ToCStringLen(ctx, &size, result);
    JS_FreeValue(ctx, result);
    if (!source)
        return NULL;
    JSValue compiled =
        JS_Eval(ctx, source, size, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    JS_FreeCString(ctx, source);
    if (JS_IsException(compiled))
        return NULL;
    JSModuleDef *module = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(ctx, compiled); /* the context keeps the module */
    JSValue meta = JS_GetImportMeta(ctx, module);
    JSValue fill = JS_GetPropertyStr(ctx, internal, "fillMeta");
    JSValue path = JS_NewString(ctx, name);
    JSValue arguments[2] = {meta, path};
    JS_FreeValue(ctx, JS_Call(ctx, fill, JS_UNDEFINED, 2, (JSValueConst *)arguments));
    JS_FreeValue(ctx, path);
    JS_FreeValue(ctx, fill);
    JS_FreeValue(ctx, meta);
    return module;
}

/* ---- the run's promises that nobody handles ---- */

static void track_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason,
                            bool is_handled, void *opaque) {
    (void)opaque;
    JSValue function = JS_GetPropertyStr(ctx, internal, "trackRejection");
    if (JS_IsFunction(ctx, function)) {
        JSValue handled = JS_NewBool(ctx, is_handled);
        JSValue arguments[3] = {promise, reason, handled};
        JS_FreeValue(ctx, JS_Call(ctx, function, JS_UNDEFINED, 3, (JSValueConst *)arguments));
    }
    JS_FreeValue(ctx, function);
}

/* ---- exports ---- */

EXPORT("cloche_alloc") void *cloche_alloc(int32_t size) {
    size_t needed = (size_t)size + 1; /* the engine wants a NUL behind its source */
    if (needed > input_capacity) {
        free(input);
        input = checked(malloc(needed));
        input_capacity = needed;
    }
    return input;
}

EXPORT("cloche_init") int32_t cloche_init(void) {
    runtime = JS_NewRuntime2(&allocator, NULL);
    if (!runtime)
        return 1;
    JS_SetMaxStackSize(runtime, STACK_LIMIT_BYTES);
    context = JS_NewContext(runtime);
    if (!context)
        return 2;
    JS_SetModuleLoaderFunc(runtime, normalize_module, load_module, NULL);
    JS_SetHostPromiseRejectionTracker(runtime, track_rejection, NULL);
    internal = JS_NewObject(context);
    JS_SetPropertyFunctionList(context, internal, natives, sizeof natives / sizeof *natives);
    JSValue global = JS_GetGlobalObject(context);
    JS_SetPropertyStr(context, global, "__cloche", JS_DupValue(context, internal));
    JS_FreeValue(context, global);
    return 0;
}

static void report_failure(void) {
    JSValue error = JS_GetException(context);
    JSValue stack = JS_GetPropertyStr(context, error, "stack");
    size_t size;
    const char *text = JS_ToCStringLen(context, &size, error);
    if (text) {
        gate(17, text, (int32_t)size);
        gate(17, "\n", 1);
    }
    JS_FreeCString(context, text);
    text = JS_ToCStringLen(context, &size, stack);
    if (text)
        gate(17, text, (int32_t)size);
    JS_FreeCString(context, text);
    JS_FreeValue(context, stack);
    JS_FreeValue(context, error);
}

/* input: file name, NUL, source */
EXPORT("cloche_prelude") int32_t cloche_prelude(char *body, int32_t length) {
    size_t name_length = strlen(body);
    char *source = body + name_length + 1;
    size_t size = (size_t)length - name_length - 1;
    source[size] = 0;
    JSValue value = JS_Eval(context, source, size, body, JS_EVAL_TYPE_GLOBAL);
    int32_t status = JS_IsException(value) ? 1 : 0;
    if (status)
        report_failure();
    JS_FreeValue(context, value);
    return status;
}

/* 0: there is a report, 1: failed, 2: done with exit code 0 */
EXPORT("cloche_turn") int32_t cloche_turn(const char *body, int32_t length) {
    JS_UpdateStackTop(runtime);
    JSValue text = JS_NewStringLen(context, body, (size_t)length);
    JSValue turn = JS_GetPropertyStr(context, internal, "turn");
    JSValue value = JS_Call(context, turn, JS_UNDEFINED, 1, (JSValueConst *)&text);
    int32_t status = JS_IsException(value) ? 1 : JS_VALUE_GET_TAG(value) == JS_TAG_BOOL ? 2 : 0;
    if (status == 1) {
        JSValue error = JS_GetException(context);
        if (JS_IsUncatchableError(error)) {
            JSValue left = JS_GetPropertyStr(context, internal, "left");
            JSValue done = JS_Call(context, left, JS_UNDEFINED, 0, NULL);
            status = JS_IsException(done) ? 1 : JS_VALUE_GET_TAG(done) == JS_TAG_BOOL ? 2 : 0;
            JS_FreeValue(context, done);
            JS_FreeValue(context, left);
            JS_FreeValue(context, error);
        } else {
            JS_Throw(context, error);
        }
    }
    if (status == 1)
        report_failure();
    JS_FreeValue(context, value);
    JS_FreeValue(context, turn);
    JS_FreeValue(context, text);
    return status;
}

#include "seal.c"

/* Run once before, so that what every run makes and keeps is there already. */
static const char rehearsal[] =
    "{\"op\":\"start\",\"language\":\"javascript\",\"filename\":\"prelude/rehearsal.js\","
    "\"argv\":[\"main.js\"],\"env\":{},\"cwd\":\"/\",\"path\":[\"/\"],\"seed\":0,\"now_ns\":\"0\","
    "\"code\":\"print(1)\"}";

static void seal(int room_page_count) {
    JS_RunGC(runtime);
    seal_references();
    fill_holes(room_page_count);
    JSMemoryUsage usage;
    JS_ComputeMemoryUsage(runtime, &usage);
    JS_SetGCThreshold(runtime, (size_t)usage.malloc_size + GARBAGE_BYTES);
}

/* The last call before the memory becomes an image; once more, where that image's guest went on and
 * is to become another one. */
EXPORT("cloche_seal") int32_t cloche_seal(void) {
    static bool is_sealed;
    if (is_sealed) {
        JS_UpdateStackTop(runtime);
        seal(ROOM_PAGE_COUNT_MAX);
        return 0;
    }
    int32_t status = cloche_turn(rehearsal, sizeof rehearsal - 1) == 2 ? 0 : 1;
    seal(ROOM_PAGE_COUNT);
    is_sealed = true;
    return status;
}
