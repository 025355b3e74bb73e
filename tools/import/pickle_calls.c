#include "pickle_value.h"

#include <stdio.h>
#include <string.h>

/* Every name that a pickle may hold. Nothing behind them is ever called: a rule says which value
 * stands for the call. */
static const pickle_name names[] = {
    {"argparse.Namespace", RULE_OBJECT},
    {"builtins.bool", RULE_NAME},
    {"builtins.bytearray", RULE_BYTES},
    {"builtins.bytes", RULE_BYTES},
    {"builtins.dict", RULE_DICT},
    {"builtins.float", RULE_NAME},
    {"builtins.frozenset", RULE_SET},
    {"builtins.int", RULE_NAME},
    {"builtins.list", RULE_NAME},
    {"builtins.set", RULE_SET},
    {"builtins.str", RULE_NAME},
    {"builtins.tuple", RULE_NAME},
    {"_codecs.encode", RULE_BYTES},
    {"collections.Counter", RULE_DICT},
    {"collections.OrderedDict", RULE_DICT},
    {"collections.defaultdict", RULE_DICT},
    {"numpy.core.multiarray._reconstruct", RULE_OBJECT},
    {"numpy.core.multiarray.scalar", RULE_OBJECT},
    {"numpy.core.numeric._frombuffer", RULE_OBJECT},
    {"numpy.dtype", RULE_OBJECT},
    {"numpy.ndarray", RULE_NAME},
    {"pathlib.PosixPath", RULE_OBJECT},
    {"pathlib.PurePosixPath", RULE_OBJECT},
    {"pathlib.WindowsPath", RULE_OBJECT},
    {"torch.BFloat16Storage", RULE_NAME},
    {"torch.BoolStorage", RULE_NAME},
    {"torch.ByteStorage", RULE_NAME},
    {"torch.CharStorage", RULE_NAME},
    {"torch.ComplexDoubleStorage", RULE_NAME},
    {"torch.ComplexFloatStorage", RULE_NAME},
    {"torch.DoubleStorage", RULE_NAME},
    {"torch.FloatStorage", RULE_NAME},
    {"torch.HalfStorage", RULE_NAME},
    {"torch.IntStorage", RULE_NAME},
    {"torch.LongStorage", RULE_NAME},
    {"torch.ShortStorage", RULE_NAME},
    {"torch.Size", RULE_TUPLE},
    {"torch._utils._rebuild_parameter", RULE_OBJECT},
    {"torch._utils._rebuild_tensor", RULE_OBJECT},
    {"torch._utils._rebuild_tensor_v2", RULE_OBJECT},
    {"torch._utils._rebuild_tensor_v3", RULE_OBJECT},
    {"torch.bfloat16", RULE_NAME},
    {"torch.bool", RULE_NAME},
    {"torch.device", RULE_OBJECT},
    {"torch.float16", RULE_NAME},
    {"torch.float32", RULE_NAME},
    {"torch.float64", RULE_NAME},
    {"torch.int16", RULE_NAME},
    {"torch.int32", RULE_NAME},
    {"torch.int64", RULE_NAME},
    {"torch.int8", RULE_NAME},
    {"torch.storage.UntypedStorage", RULE_NAME},
    {"torch.storage._UntypedStorage", RULE_NAME},
    {"torch.uint16", RULE_NAME},
    {"torch.uint32", RULE_NAME},
    {"torch.uint64", RULE_NAME},
    {"torch.uint8", RULE_NAME},
};

/* Modules that go by another name in other versions of Python and NumPy. */
static const struct {
    const char *other, *ours;
} modules[] = {
    {"__builtin__", "builtins"},
    {"numpy._core.multiarray", "numpy.core.multiarray"},
    {"numpy._core.numeric", "numpy.core.numeric"},
};

const pickle_name *dns_pickle_known_name(const char *module, size_t module_size, const char *name,
                                         size_t name_size)
{
    char full[128];
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (strlen(modules[i].other) == module_size &&
            memcmp(modules[i].other, module, module_size) == 0) {
            module = modules[i].ours;
            module_size = strlen(module);
            break;
        }
    if (module_size + name_size + 2 > sizeof full)
        return NULL;
    snprintf(full, sizeof full, "%.*s.%.*s", (int)module_size, module, (int)name_size, name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].text, full) == 0)
            return &names[i];
    return NULL;
}

/* Bytes travel through protocol 2 as text in which each character is one byte. */
static dns_status push_bytes(pickle_machine *m, const dns_pickle_value *arguments)
{
    const dns_pickle_value *first = dns_pickle_at(arguments, 0);
    const char *text = "";
    size_t size = 0, n = 0;
    if (first != NULL)
        text = dns_pickle_bytes(first, &size);
    if (text == NULL)
        return dns_pickle_damaged(m, "bytes that are made of something else");
    dns_pickle_value *bytes;
    dns_status status = dns_pickle_new_text(&bytes, m, DNS_PICKLE_BYTES, text, size);
    if (status != DNS_OK)
        return status;
    char *out = bytes->as.text.data;
    for (size_t i = 0; i < size && first->kind == DNS_PICKLE_STRING; i++) {
        uint8_t c = (uint8_t)text[i];
        if ((c == 0xc2 || c == 0xc3) && i + 1 < size && ((uint8_t)text[i + 1] & 0xc0) == 0x80)
            c = (uint8_t)((c & 3) << 6 | ((uint8_t)text[++i] & 0x3f));
        else if (c >= 0x80)
            return dns_pickle_damaged(m, "bytes with characters above 255");
        out[n++] = (char)c;
    }
    if (size > 0 && first->kind == DNS_PICKLE_STRING) {
        out[n] = '\0';
        bytes->as.text.size = n;
    }
    return dns_pickle_push(m, bytes);
}

/* OrderedDict([(key, value), ...]), Counter({...}), dict(), defaultdict(list). */
static dns_status push_dict(pickle_machine *m, const dns_pickle_value *arguments)
{
    dns_pickle_value *dict;
    dns_status status = dns_pickle_push_new(&dict, m, DNS_PICKLE_DICT);
    const dns_pickle_value *first = dns_pickle_at(arguments, 0);
    if (dns_pickle_kind_of(first) == DNS_PICKLE_NAME || first == NULL)
        return status;
    for (size_t i = 0; i < dns_pickle_size(first) && status == DNS_OK; i++) {
        const dns_pickle_value *pair = dns_pickle_at(first, i);
        bool is_dict = first->kind == DNS_PICKLE_DICT;
        if (!is_dict && dns_pickle_size(pair) != 2)
            return dns_pickle_damaged(m, "a dictionary of something else than pairs");
        dns_pickle_value *const *entry =
            is_dict ? first->as.list.items + 2 * i : pair->as.list.items;
        status = dns_pickle_append(m->pickle, dict, entry[0]);
        if (status == DNS_OK)
            status = dns_pickle_append(m->pickle, dict, entry[1]);
    }
    return status;
}

dns_status dns_pickle_push_call(pickle_machine *m, const dns_pickle_value *callee,
                                dns_pickle_value *arguments)
{
    if (callee->kind != DNS_PICKLE_NAME || arguments->kind != DNS_PICKLE_TUPLE)
        return dns_pickle_damaged(m, "a call of something that is no name");
    const dns_pickle_value *first = dns_pickle_at(arguments, 0);
    dns_pickle_value *object;
    dns_status status;
    switch (callee->as.object.name->rule) {
    case RULE_NAME:
        break;
    case RULE_OBJECT:
        status = dns_pickle_push_new(&object, m, DNS_PICKLE_OBJECT);
        if (status == DNS_OK)
            object->as.object.name = callee->as.object.name;
        if (status == DNS_OK)
            object->as.object.arguments = arguments;
        return status;
    case RULE_DICT:
        return push_dict(m, arguments);
    case RULE_SET:
    case RULE_TUPLE:
        return dns_pickle_push_list(
            m, callee->as.object.name->rule == RULE_SET ? DNS_PICKLE_SET : DNS_PICKLE_TUPLE,
            first != NULL && dns_pickle_size(first) > 0 ? first->as.list.items : NULL,
            dns_pickle_kind_of(first) == DNS_PICKLE_DICT ? 0 : dns_pickle_size(first));
    case RULE_BYTES:
        return push_bytes(m, arguments);
    }
    return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: calls '%s', which is not run", m->source,
                          callee->as.object.name->text);
}
