/* The stack machine of pickle protocols 1 to 5 (the text operations of protocol 0: pickle_text.c).
 */
#include "pickle_value.h"

#include <string.h>

#include "dnsel/memory.h"

enum { MAX_PROTOCOL = 5 };

dns_status dns_pickle_damaged(const pickle_machine *m, const char *what)
{
    return dns_status_set(DNS_ERR_CORRUPT, "%s: pickle, byte %zu: %s", m->source, m->at, what);
}

/* ---- bytes and stack ---- */

static dns_status take(const uint8_t **out, pickle_machine *m, uint64_t size)
{
    if (size > m->size - m->at)
        return dns_pickle_damaged(m, "cut short");
    *out = m->bytes + m->at;
    m->at += (size_t)size;
    return DNS_OK;
}

static dns_status take_number(uint64_t *out, pickle_machine *m, int width)
{
    const uint8_t *bytes = NULL;
    dns_status status = take(&bytes, m, (uint64_t)width);
    if (status != DNS_OK)
        return status;
    *out = 0;
    for (int i = 0; i < width; i++)
        *out |= (uint64_t)bytes[i] << (8 * i);
    return DNS_OK;
}

dns_status dns_pickle_take_line(const char **line, size_t *size, pickle_machine *m)
{
    const uint8_t *bytes = m->bytes + m->at;
    const uint8_t *end = m->at < m->size ? memchr(bytes, '\n', m->size - m->at) : NULL;
    if (end == NULL)
        return dns_pickle_damaged(m, "cut short");
    *line = (const char *)bytes;
    *size = (size_t)(end - bytes);
    m->at += *size + 1;
    return DNS_OK;
}

dns_status dns_pickle_push(pickle_machine *m, dns_pickle_value *value)
{
    dns_status status =
        dns_reserve(&m->stack, &m->stack_capacity, m->n_stack + 1, sizeof *m->stack);
    if (status == DNS_OK)
        m->stack[m->n_stack++] = value;
    return status;
}

/* Values above the last MARK. */
static size_t available(const pickle_machine *m)
{
    return m->n_stack - (m->n_marks > 0 ? m->marks[m->n_marks - 1] : 0);
}

static dns_status pop(dns_pickle_value **out, pickle_machine *m)
{
    if (available(m) == 0)
        return dns_pickle_damaged(m, "nothing on the stack");
    *out = m->stack[--m->n_stack];
    return DNS_OK;
}

/* Drops the last MARK; the *n values above it lie at the new top of the stack. */
static dns_status pop_mark(dns_pickle_value ***values, size_t *n, pickle_machine *m)
{
    if (m->n_marks == 0)
        return dns_pickle_damaged(m, "no mark on the stack");
    *n = available(m);
    m->n_stack -= *n;
    m->n_marks--;
    *values = *n > 0 ? m->stack + m->n_stack : NULL;
    return DNS_OK;
}

dns_status dns_pickle_push_new(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind)
{
    dns_status status = dns_pickle_new(out, m, kind);
    return status != DNS_OK ? status : dns_pickle_push(m, *out);
}

dns_status dns_pickle_push_list(pickle_machine *m, dns_pickle_kind kind,
                                dns_pickle_value *const *items, size_t n)
{
    dns_pickle_value *list;
    dns_status status = dns_pickle_new(&list, m, kind);
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        status = dns_pickle_append(m->pickle, list, items[i]);
    return status != DNS_OK ? status : dns_pickle_push(m, list);
}

/* ---- simple values ---- */

static dns_status run_protocol(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t protocol = 0;
    dns_status status = take_number(&protocol, m, 1);
    if (status == DNS_OK && protocol > MAX_PROTOCOL)
        status = dns_status_set(DNS_ERR_VERSION, "%s: pickle protocol %d, at most %d is read",
                                m->source, (int)protocol, MAX_PROTOCOL);
    return status;
}

static dns_status run_frame(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t size = 0;
    dns_status status = take_number(&size, m, 8);
    if (status == DNS_OK && size > m->size - m->at)
        status = dns_pickle_damaged(m, "cut short");
    return status;
}

static dns_status run_stop(pickle_machine *m, const pickle_operation *operation)
{
    m->stopped = true;
    return pop(&m->pickle->root, m);
}

static dns_status run_empty(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *value;
    return dns_pickle_push_new(&value, m, operation->kind);
}

static dns_status run_bool(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *value;
    dns_status status = dns_pickle_push_new(&value, m, DNS_PICKLE_BOOL);
    if (status == DNS_OK)
        value->as.flag = operation->width;
    return status;
}

dns_status dns_pickle_push_integer(pickle_machine *m, int64_t number)
{
    dns_pickle_value *value;
    dns_status status = dns_pickle_push_new(&value, m, DNS_PICKLE_INTEGER);
    if (status == DNS_OK)
        value->as.integer = number;
    return status;
}

dns_status dns_pickle_push_float(pickle_machine *m, double number)
{
    dns_pickle_value *value;
    dns_status status = dns_pickle_push_new(&value, m, DNS_PICKLE_FLOAT);
    if (status == DNS_OK)
        value->as.real = number;
    return status;
}

/* A negative width: signed. */
static dns_status run_integer(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t number = 0;
    bool is_signed = operation->width < 0;
    dns_status status = take_number(&number, m, is_signed ? -operation->width : operation->width);
    if (status != DNS_OK)
        return status;
    return dns_pickle_push_integer(m, is_signed ? (int32_t)(uint32_t)number : (int64_t)number);
}

/* Two's complement of any size. */
static dns_status run_long(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t size = 0;
    const uint8_t *bytes = NULL;
    dns_status status = take_number(&size, m, operation->width);
    if (status == DNS_OK)
        status = take(&bytes, m, size);
    if (status != DNS_OK)
        return status;
    bool is_negative = size > 0 && bytes[size - 1] >= 0x80;
    if (size <= 8) {
        uint64_t number = is_negative ? UINT64_MAX : 0;
        for (uint64_t i = size; i-- > 0;)
            number = number << 8 | bytes[i];
        return dns_pickle_push_integer(m, (int64_t)number);
    }
    double real = is_negative ? -1 : 0;
    for (uint64_t i = size; i-- > 0;)
        real = real * 256 + bytes[i];
    return dns_pickle_push_float(m, real);
}

static dns_status run_float(pickle_machine *m, const pickle_operation *operation)
{
    const uint8_t *bytes = NULL;
    dns_status status = take(&bytes, m, 8);
    if (status != DNS_OK)
        return status;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i];
    double real;
    memcpy(&real, &bits, sizeof real);
    return dns_pickle_push_float(m, real);
}

static dns_status run_text(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t size = 0;
    const uint8_t *bytes = NULL;
    dns_pickle_value *value;
    dns_status status = DNS_OK;
    DNS_TRY(take_number(&size, m, operation->width));
    DNS_TRY(take(&bytes, m, size));
    DNS_TRY(dns_pickle_new_text(&value, m, operation->kind, bytes, (size_t)size));
    DNS_TRY(dns_pickle_push(m, value));
out:
    return status;
}

/* ---- stack and memo ---- */

static dns_status run_mark(pickle_machine *m, const pickle_operation *operation)
{
    dns_status status =
        dns_reserve(&m->marks, &m->marks_capacity, m->n_marks + 1, sizeof *m->marks);
    if (status == DNS_OK)
        m->marks[m->n_marks++] = m->n_stack;
    return status;
}

static dns_status run_pop(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *value, **values;
    size_t n;
    return available(m) > 0 ? pop(&value, m) : pop_mark(&values, &n, m);
}

static dns_status run_pop_mark(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value **values = NULL;
    size_t n = 0;
    return pop_mark(&values, &n, m);
}

static dns_status run_duplicate(pickle_machine *m, const pickle_operation *operation)
{
    if (available(m) == 0)
        return dns_pickle_damaged(m, "nothing on the stack");
    return dns_pickle_push(m, m->stack[m->n_stack - 1]);
}

dns_status dns_pickle_put_memo(pickle_machine *m, uint64_t index)
{
    if (available(m) == 0)
        return dns_pickle_damaged(m, "nothing on the stack");
    /* Writers number by counting, so a number beyond the bytes read so far is a lie. */
    if (index > m->at)
        return dns_pickle_damaged(m, "memo number out of range");
    dns_status status =
        dns_reserve(&m->memo, &m->memo_capacity, (size_t)index + 1, sizeof *m->memo);
    if (status == DNS_OK)
        m->memo[index] = m->stack[m->n_stack - 1];
    return status;
}

dns_status dns_pickle_push_memo(pickle_machine *m, uint64_t index)
{
    if (index >= m->memo_capacity || m->memo[index] == NULL)
        return dns_pickle_damaged(m, "nothing under this memo number");
    return dns_pickle_push(m, m->memo[index]);
}

static dns_status run_put(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t index = 0;
    dns_status status = take_number(&index, m, operation->width);
    return status != DNS_OK ? status : dns_pickle_put_memo(m, index);
}

static dns_status run_get(pickle_machine *m, const pickle_operation *operation)
{
    uint64_t index = 0;
    dns_status status = take_number(&index, m, operation->width);
    return status != DNS_OK ? status : dns_pickle_push_memo(m, index);
}

/* Protocol 4 does not number: a memo's number is how many there are. */
static dns_status run_memoize(pickle_machine *m, const pickle_operation *operation)
{
    return dns_pickle_put_memo(m, m->n_memoized++);
}

/* ---- collections ---- */

static dns_status run_tuple(pickle_machine *m, const pickle_operation *operation)
{
    size_t n = (size_t)operation->width;
    if (available(m) < n)
        return dns_pickle_damaged(m, "nothing on the stack");
    m->n_stack -= n;
    return dns_pickle_push_list(m, DNS_PICKLE_TUPLE, m->stack + m->n_stack, n);
}

/* Everything above the mark becomes one collection. */
static dns_status run_collect(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value **values = NULL;
    size_t n = 0;
    dns_status status = pop_mark(&values, &n, m);
    if (status == DNS_OK && operation->kind == DNS_PICKLE_DICT && n % 2 != 0)
        status = dns_pickle_damaged(m, "a key without a value");
    return status != DNS_OK ? status : dns_pickle_push_list(m, operation->kind, values, n);
}

/* `width` values, or with 0 everything above the mark, goes into the collection below. */
static dns_status run_append(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value **values;
    size_t n = (size_t)operation->width;
    dns_status status = DNS_OK;
    if (n == 0) {
        DNS_TRY(pop_mark(&values, &n, m));
    } else {
        if (available(m) < n)
            return dns_pickle_damaged(m, "nothing on the stack");
        m->n_stack -= n;
        values = m->stack + m->n_stack;
    }
    if (available(m) == 0 || m->stack[m->n_stack - 1]->kind != operation->kind)
        return dns_pickle_damaged(m, "items for something that takes none");
    if (operation->kind == DNS_PICKLE_DICT && n % 2 != 0)
        return dns_pickle_damaged(m, "a key without a value");
    for (size_t i = 0; i < n; i++)
        DNS_TRY(dns_pickle_append(m->pickle, m->stack[m->n_stack - 1], values[i]));
out:
    return status;
}

/* ---- names and calls ---- */

static dns_status push_name(pickle_machine *m, const char *module, size_t module_size,
                            const char *name, size_t name_size)
{
    const pickle_name *known = dns_pickle_known_name(module, module_size, name, name_size);
    if (known == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED,
                              "%s: asks for '%.*s.%.*s', which is not run and not known", m->source,
                              (int)(module_size < 64 ? module_size : 64), module,
                              (int)(name_size < 64 ? name_size : 64), name);
    dns_pickle_value *value;
    dns_status status = dns_pickle_push_new(&value, m, DNS_PICKLE_NAME);
    if (status == DNS_OK)
        value->as.object.name = known;
    return status;
}

static dns_status run_global(pickle_machine *m, const pickle_operation *operation)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    dns_status status = dns_pickle_take_line(&module, &module_size, m);
    if (status == DNS_OK)
        status = dns_pickle_take_line(&name, &name_size, m);
    return status != DNS_OK ? status : push_name(m, module, module_size, name, name_size);
}

static dns_status run_stack_global(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *module = NULL, *name = NULL;
    dns_status status = pop(&name, m);
    if (status == DNS_OK)
        status = pop(&module, m);
    if (status != DNS_OK)
        return status;
    if (module->kind != DNS_PICKLE_STRING || name->kind != DNS_PICKLE_STRING)
        return dns_pickle_damaged(m, "a name that is no text");
    return push_name(m, module->as.text.data, module->as.text.size, name->as.text.data,
                     name->as.text.size);
}

/* REDUCE and NEWOBJ: a callee and a tuple; with `width` 1 (NEWOBJ_EX) also named arguments, of
 * which none are taken. */
static dns_status run_call(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *named = NULL, *arguments = NULL, *callee = NULL;
    dns_status status = DNS_OK;
    if (operation->width == 1)
        DNS_TRY(pop(&named, m));
    DNS_TRY(pop(&arguments, m));
    DNS_TRY(pop(&callee, m));
    if (named != NULL && (named->kind != DNS_PICKLE_DICT || dns_pickle_size(named) > 0))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: a call with named arguments", m->source);
    DNS_TRY(dns_pickle_push_call(m, callee, arguments));
out:
    return status;
}

/* State of a standard dictionary or set is attributes of the Python object, of no use here. */
static dns_status run_build(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *state = NULL;
    dns_status status = pop(&state, m);
    if (status != DNS_OK)
        return status;
    if (available(m) == 0)
        return dns_pickle_damaged(m, "nothing on the stack");
    dns_pickle_value *object = m->stack[m->n_stack - 1];
    if (object->kind == DNS_PICKLE_OBJECT)
        object->as.object.state = state;
    else if (object->kind != DNS_PICKLE_DICT && object->kind != DNS_PICKLE_SET)
        return dns_pickle_damaged(m, "a state for something that takes none");
    return DNS_OK;
}

static dns_status run_reference(pickle_machine *m, const pickle_operation *operation)
{
    dns_pickle_value *id = NULL;
    dns_status status = pop(&id, m);
    if (status != DNS_OK)
        return status;
    if (id->kind != DNS_PICKLE_TUPLE)
        return dns_pickle_damaged(m, "a persistent id that is no tuple");
    return dns_pickle_push_list(m, DNS_PICKLE_REFERENCE, id->as.list.items, id->as.list.n);
}

static const pickle_operation operations[256] = {
    [0x80] = {run_protocol},
    [0x95] = {run_frame},
    ['.'] = {run_stop},
    ['N'] = {run_empty, 0, DNS_PICKLE_NONE},
    [')'] = {run_empty, 0, DNS_PICKLE_TUPLE},
    [']'] = {run_empty, 0, DNS_PICKLE_LIST},
    ['}'] = {run_empty, 0, DNS_PICKLE_DICT},
    [0x8f] = {run_empty, 0, DNS_PICKLE_SET},
    [0x88] = {run_bool, true},
    [0x89] = {run_bool, false},
    ['K'] = {run_integer, 1},
    ['M'] = {run_integer, 2},
    ['J'] = {run_integer, -4},
    [0x8a] = {run_long, 1},
    [0x8b] = {run_long, 4},
    ['G'] = {run_float},
    ['X'] = {run_text, 4, DNS_PICKLE_STRING},
    [0x8c] = {run_text, 1, DNS_PICKLE_STRING},
    [0x8d] = {run_text, 8, DNS_PICKLE_STRING},
    ['T'] = {run_text, 4, DNS_PICKLE_STRING},
    ['U'] = {run_text, 1, DNS_PICKLE_STRING},
    ['B'] = {run_text, 4, DNS_PICKLE_BYTES},
    ['C'] = {run_text, 1, DNS_PICKLE_BYTES},
    [0x8e] = {run_text, 8, DNS_PICKLE_BYTES},
    [0x96] = {run_text, 8, DNS_PICKLE_BYTES},
    ['('] = {run_mark},
    ['0'] = {run_pop},
    ['1'] = {run_pop_mark},
    ['2'] = {run_duplicate},
    ['q'] = {run_put, 1},
    ['r'] = {run_put, 4},
    ['h'] = {run_get, 1},
    ['j'] = {run_get, 4},
    [0x94] = {run_memoize},
    [0x85] = {run_tuple, 1},
    [0x86] = {run_tuple, 2},
    [0x87] = {run_tuple, 3},
    ['t'] = {run_collect, 0, DNS_PICKLE_TUPLE},
    ['l'] = {run_collect, 0, DNS_PICKLE_LIST},
    ['d'] = {run_collect, 0, DNS_PICKLE_DICT},
    [0x91] = {run_collect, 0, DNS_PICKLE_SET},
    ['a'] = {run_append, 1, DNS_PICKLE_LIST},
    ['e'] = {run_append, 0, DNS_PICKLE_LIST},
    ['s'] = {run_append, 2, DNS_PICKLE_DICT},
    ['u'] = {run_append, 0, DNS_PICKLE_DICT},
    [0x90] = {run_append, 0, DNS_PICKLE_SET},
    ['c'] = {run_global},
    [0x93] = {run_stack_global},
    ['R'] = {run_call},
    [0x81] = {run_call},
    [0x92] = {run_call, 1},
    ['b'] = {run_build},
    ['Q'] = {run_reference},
};

static const pickle_operation *operation_of(uint8_t code)
{
    return operations[code].run != NULL ? &operations[code] : dns_pickle_text_operation(code);
}

/* What a pickle of protocol 2 and above, and one of a collection in protocol 0 or 1, begins with.
 */
static bool begins_as_pickle(const uint8_t *bytes, size_t size)
{
    return size > 1 && ((bytes[0] == 0x80 && bytes[1] > 0) ||
                        (bytes[0] != '\0' && strchr("(]})c", bytes[0]) != NULL));
}

static dns_status run(pickle_machine *m)
{
    while (!m->stopped) {
        if (m->at == m->size)
            return dns_pickle_damaged(m, "cut short");
        const pickle_operation *operation = operation_of(m->bytes[m->at]);
        if (operation->run == NULL)
            return dns_pickle_damaged(m, "no operation of a pickle that is read here");
        m->at++;
        dns_status status = operation->run(m, operation);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

dns_status dns_pickle_parse(dns_pickle **out, size_t *used, const void *bytes, size_t size,
                            const char *source)
{
    dns_status status = DNS_OK;
    pickle_machine m = {.source = source, .bytes = bytes, .size = size};
    *out = NULL;
    if (!begins_as_pickle(bytes, size))
        return dns_status_set(DNS_ERR_FORMAT, "%s: not a pickle", source);
    DNS_TRY(dns_alloc(&m.pickle, 1, sizeof *m.pickle));
    DNS_TRY(run(&m));
    DNS_TRY(dns_pickle_check(m.pickle->root, source));
    if (used != NULL)
        *used = m.at;
    *out = m.pickle;
    m.pickle = NULL;
out:
    dns_free(m.stack);
    dns_free(m.marks);
    dns_free(m.memo);
    dns_pickle_free(m.pickle);
    return status;
}
