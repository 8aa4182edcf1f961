/*
 * Texts of the web, taken apart: header fields, plain URLs, JSON of a text, what an app is sent.
 *
 * A part of guest.c, which includes it. Each native is a shortcut for an expression or a loop of the
 * library (lib/src/web), which says the same in JavaScript and takes ten times as long. Nothing here
 * calls the host.
 */

/* ---- header fields, RFC 9110 section 5: an expression in JavaScript takes ten times as long ---- */

enum { IS_LETTER = 1, IS_CAPITAL = 2, IS_VALUE = 4, IS_BLANK = 8 };

static uint8_t class_of(int letter) {
    if (letter > 0xff)
        return 0;
    if (letter >= 'A' && letter <= 'Z')
        return IS_LETTER | IS_CAPITAL | IS_VALUE;
    if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9'))
        return IS_LETTER | IS_VALUE;
    if (letter == ' ' || letter == '\t')
        return IS_BLANK | IS_VALUE;
    if (letter == '\n' || letter == '\r')
        return IS_BLANK;
    if (letter && strchr("!#$%&'*+-.^_`|~", letter))
        return IS_LETTER | IS_VALUE;
    return letter >= 0x20 && letter != 0x7f && (letter < 0x7f || letter >= 0x80) ? IS_VALUE : 0;
}

/* fieldName(text) -> the name in lowercase, or undefined if it is none */
static JSValue native_field_name(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    JSValue text = JS_ToString(ctx, argv[0]);
    if (JS_IsException(text))
        return text;
    JSString *string = JS_VALUE_GET_STRING(text);
    int length = (int)string->len;
    uint8_t all = IS_LETTER, some = 0;
    for (int index = 0; index < length; index++) {
        uint8_t class = class_of(string_get(string, index));
        all &= class;
        some |= class;
    }
    if (length && all && !(some & IS_CAPITAL))
        return text;
    JSValue name = JS_UNDEFINED;
    if (length && all) {
        JSString *lower = js_alloc_string(ctx, length, 0);
        for (int index = 0; index < length; index++) {
            int letter = string_get(string, index);
            str8(lower)[index] = (uint8_t)(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
        }
        str8(lower)[length] = 0;
        name = JS_MKPTR(JS_TAG_STRING, lower);
    }
    JS_FreeValue(ctx, text);
    return name;
}

/* fieldValue(text) -> the value without blanks around it, or undefined if it is none */
static JSValue native_field_value(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    JSValue text = JS_ToString(ctx, argv[0]);
    if (JS_IsException(text))
        return text;
    JSString *string = JS_VALUE_GET_STRING(text);
    int start = 0, end = (int)string->len;
    while (start < end && class_of(string_get(string, start)) & IS_BLANK)
        start++;
    while (end > start && class_of(string_get(string, end - 1)) & IS_BLANK)
        end--;
    uint8_t all = IS_VALUE;
    for (int index = start; index < end; index++)
        all &= class_of(string_get(string, index));
    if (all && end - start == (int)string->len)
        return text;
    JSValue value = all ? js_sub_string(ctx, string, start, end) : JS_UNDEFINED;
    JS_FreeValue(ctx, text);
    return value;
}

/* quote(text) -> the text as JSON; undefined for one with letters beyond Latin-1, which may be broken */
static JSValue native_quote(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    if (JS_VALUE_GET_TAG(argv[0]) != JS_TAG_STRING || JS_VALUE_GET_STRING(argv[0])->is_wide_char)
        return JS_UNDEFINED;
    return JS_ToQuotedString(ctx, argv[0]);
}

/* ---- plain URLs, as lib/src/web/simple_url.js says; whatever the standard would change is none ---- */

#define URL_LENGTH_MAX 4096
#define PORT_MAX 65535

static bool is_small_letter(uint8_t letter) { return letter >= 'a' && letter <= 'z'; }

/* Labels of small letters, digits and hyphens within; the last begins with a letter. */
static bool is_name(const uint8_t *host, int length) {
    int start = 0;
    for (int index = 0; index <= length; index++) {
        if (index < length && host[index] != '.') {
            if (!is_small_letter(host[index]) && !is_digit(host[index]) && host[index] != '-')
                return false;
            continue;
        }
        const uint8_t *label = host + start;
        int size = index - start;
        if (!size || label[0] == '-' || label[size - 1] == '-')
            return false;
        if (size > 3 && label[2] == '-' && label[3] == '-')
            return false; /* punycode is checked */
        if (index == length && !is_small_letter(label[0]))
            return false;
        start = index + 1;
    }
    return true;
}

/* Four numbers, written in full. */
static bool is_address(const uint8_t *host, int length) {
    int count = 0;
    for (int index = 0; index <= length; index++, count++) {
        int start = index, number = 0;
        while (index < length && is_digit(host[index]) && index - start < 4)
            number = number * 10 + host[index++] - '0';
        int size = index - start;
        if (!size || size > 3 || number > 255 || (size > 1 && host[start] == '0'))
            return false;
        if (index < length && host[index] != '.')
            return false;
    }
    return count == 4;
}

static bool is_plain_letter(uint8_t letter) {
    return is_small_letter(letter | 0x20) || is_digit(letter) ||
           (letter && strchr("-_~!$&'()*+,;=:@%./", letter));
}

/* plainUrl(text) -> [scheme, host, port, path, query], or undefined; port and query as a text, the
 * port empty for the usual one, the query undefined for none */
static JSValue native_plain_url(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    (void)self;
    (void)argc;
    if (JS_VALUE_GET_TAG(argv[0]) != JS_TAG_STRING)
        return JS_UNDEFINED;
    JSString *string = JS_VALUE_GET_STRING(argv[0]);
    int length = (int)string->len;
    if (string->is_wide_char || length > URL_LENGTH_MAX)
        return JS_UNDEFINED;
    const uint8_t *text = str8(string);
    int scheme = length > 7 && !memcmp(text, "http://", 7)    ? 4
                 : length > 8 && !memcmp(text, "https://", 8) ? 5
                                                              : 0;
    if (!scheme)
        return JS_UNDEFINED;
    int host = scheme + 3, at = host;
    while (at < length && text[at] != ':' && text[at] != '/' && text[at] != '?')
        at++;
    int host_end = at;
    if (!is_name(text + host, host_end - host) && !is_address(text + host, host_end - host))
        return JS_UNDEFINED;
    int port = at, number = 0;
    if (at < length && text[at] == ':') {
        port = ++at;
        while (at < length && is_digit(text[at]) && at - port < 6)
            number = number * 10 + text[at++] - '0';
        if (at == port || at - port > 5 || text[port] == '0' || number > PORT_MAX)
            return JS_UNDEFINED;
    }
    int port_end = number == (scheme == 4 ? 80 : 443) ? port : at;
    int path = at;
    if (at < length && text[at] != '/' && text[at] != '?')
        return JS_UNDEFINED;
    for (; at < length && text[at] != '?'; at++) {
        if (!is_plain_letter(text[at]))
            return JS_UNDEFINED;
        const uint8_t *next = text + at + 1; /* a NUL is behind the last letter */
        int left = length - at - 1;
        if (text[at] == '/' && left > 0 &&
            (*next == '.' || (left > 2 && next[0] == '%' && next[1] == '2' && (next[2] | 0x20) == 'e')))
            return JS_UNDEFINED;
    }
    int path_end = at;
    JSValue query = JS_UNDEFINED;
    if (at < length) {
        int begin = ++at;
        for (; at < length; at++)
            if ((!is_plain_letter(text[at]) && text[at] != '?') || text[at] == '\'')
                return JS_UNDEFINED;
        query = js_sub_string(ctx, string, begin, at);
    }
    JSValue parts[5] = {
        js_sub_string(ctx, string, 0, scheme),
        js_sub_string(ctx, string, host, host_end),
        js_sub_string(ctx, string, port, port_end),
        path_end > path ? js_sub_string(ctx, string, path, path_end)
                        : js_new_string8_len(ctx, "/", 1),
        query,
    };
    JSValue made = js_create_array(ctx, 5, (JSValueConst *)parts); /* counts them once more */
    for (int index = 0; index < 5; index++)
        JS_FreeValue(ctx, parts[index]);
    return made;
}

static uint32_t number_at(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static JSValue latin1(JSContext *ctx, const uint8_t *bytes, uint32_t length) {
    return js_new_string8_len(ctx, (const char *)bytes, (int)length);
}

/* latin1(bytes, start, end) -> text, a letter for each byte */
static JSValue native_latin1(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint32_t start, end;
    size_t size;
    (void)self;
    (void)argc;
    if (JS_ToUint32(ctx, &start, argv[1]) || JS_ToUint32(ctx, &end, argv[2]))
        return JS_EXCEPTION;
    const uint8_t *bytes = JS_GetUint8Array(ctx, &size, argv[0]);
    if (!bytes && JS_HasException(ctx))
        return JS_EXCEPTION;
    if (start > end || end > size)
        return JS_ThrowRangeError(ctx, "not within the bytes");
    return latin1(ctx, bytes + start, end - start);
}

#define TABLE_HEAD_BYTES 8 /* of X7HT: what it is, and how many rows */
#define TABLE_ROW_BYTES 16 /* place and length of name and value, behind all rows */

/* fieldLines(bytes, start, end) -> [name, value, name, …] of an X7HT table */
static JSValue native_field_lines(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
    uint32_t start, end;
    size_t size;
    (void)self;
    (void)argc;
    if (JS_ToUint32(ctx, &start, argv[1]) || JS_ToUint32(ctx, &end, argv[2]))
        return JS_EXCEPTION;
    const uint8_t *bytes = JS_GetUint8Array(ctx, &size, argv[0]);
    if (!bytes && JS_HasException(ctx))
        return JS_EXCEPTION;
    if (start > end || end > size || end - start < TABLE_HEAD_BYTES)
        return JS_ThrowRangeError(ctx, "not within the bytes");
    const uint8_t *table = bytes + start;
    uint32_t count = table[6] | (uint32_t)table[7] << 8;
    uint32_t room = end - start - TABLE_HEAD_BYTES;
    if (count * TABLE_ROW_BYTES > room)
        return JS_ThrowRangeError(ctx, "a table of header fields that is none");
    const uint8_t *row = table + TABLE_HEAD_BYTES, *payload = row + count * TABLE_ROW_BYTES;
    room -= count * TABLE_ROW_BYTES;
    JSValue *texts = js_malloc(ctx, (2 * count + 1) * sizeof *texts);
    uint32_t made = 0;
    for (; made < 2 * count; made++, row += TABLE_ROW_BYTES / 2) {
        uint32_t at = number_at(row), length = number_at(row + 4);
        if (at > room || length > room - at)
            break;
        texts[made] = latin1(ctx, payload + at, length);
    }
    JSValue lines;
    if (made == 2 * count) {
        lines = js_create_array(ctx, (int)made, (JSValueConst *)texts); /* counts them once more */
    } else {
        lines = JS_ThrowRangeError(ctx, "a table of header fields that is none");
    }
    while (made)
        JS_FreeValue(ctx, texts[--made]);
    js_free(ctx, texts);
    return lines;
}
