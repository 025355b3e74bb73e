/* The inside of a pickle's tree, for the reader in pickle_machine.c and pickle_text.c. */
#ifndef DNS_PICKLE_VALUE_H
#define DNS_PICKLE_VALUE_H

#include "dnsel/pickle.h"

/* What calling a known name makes. */
typedef enum pickle_rule {
    RULE_NAME, /* may be named, not called */
    RULE_OBJECT,
    RULE_DICT,
    RULE_SET,
    RULE_TUPLE,
    RULE_BYTES
} pickle_rule;

typedef struct pickle_name {
    const char *text;
    pickle_rule rule;
} pickle_name;

struct dns_pickle_value {
    dns_pickle_kind kind;
    uint32_t height; /* levels below and including this one; 0 before the check */
    uint64_t weight; /* nodes below and including this one, shared ones counted each time */
    union {
        bool flag;
        int64_t integer;
        double real;
        struct {
            char *data;
            size_t size;
        } text;
        struct {
            dns_pickle_value **items; /* of a dictionary: key, value, key, value */
            size_t n, capacity;
        } list;
        struct {
            const pickle_name *name;
            dns_pickle_value *arguments, *state;
        } object;
    } as;
};

/* One pickle being read: its bytes, and the stack machine that they drive. */
typedef struct pickle_machine {
    dns_pickle *pickle;
    const char *source;
    const uint8_t *bytes;
    size_t size, at;
    bool stopped;
    dns_pickle_value **stack;
    size_t n_stack, stack_capacity;
    size_t *marks; /* heights of the stack at MARK */
    size_t n_marks, marks_capacity;
    dns_pickle_value **memo; /* NULL where nothing was put */
    size_t memo_capacity, n_memoized;
} pickle_machine;

/* An operation and what distinguishes it from its siblings. */
typedef struct pickle_operation {
    dns_status (*run)(pickle_machine *m, const struct pickle_operation *operation);
    int width;
    dns_pickle_kind kind;
} pickle_operation;

/* Those of protocol 0, whose arguments are lines of text; run is NULL for other codes. */
const pickle_operation *dns_pickle_text_operation(uint8_t code);

/* DNS_ERR_CORRUPT, naming the source and the position. */
dns_status dns_pickle_damaged(const pickle_machine *m, const char *what);
dns_status dns_pickle_new(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind);
/* A STRING or BYTES with a copy of `size` bytes (uninitialised when `data` is NULL). */
dns_status dns_pickle_new_text(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind,
                               const void *data, size_t size);
dns_status dns_pickle_push(pickle_machine *m, dns_pickle_value *value);
dns_status dns_pickle_push_new(dns_pickle_value **out, pickle_machine *m, dns_pickle_kind kind);
dns_status dns_pickle_push_list(pickle_machine *m, dns_pickle_kind kind,
                                dns_pickle_value *const *items, size_t n);
dns_status dns_pickle_push_integer(pickle_machine *m, int64_t value);
dns_status dns_pickle_push_float(pickle_machine *m, double value);
dns_status dns_pickle_push_memo(pickle_machine *m, uint64_t index);
dns_status dns_pickle_put_memo(pickle_machine *m, uint64_t index);
/* *line (`*size` bytes, without the line feed) and steps over it. */
dns_status dns_pickle_take_line(const char **line, size_t *size, pickle_machine *m);

/* NULL when the name is not in the list. */
const pickle_name *dns_pickle_known_name(const char *module, size_t module_size, const char *name,
                                         size_t name_size);

/* The value that stands for a call of `callee`, which is refused unless it is a name with a rule.
 */
dns_status dns_pickle_push_call(pickle_machine *m, const dns_pickle_value *callee,
                                dns_pickle_value *arguments);

/* Memory that lives as long as the pickle. */
dns_status dns_pickle_keep(void *out, dns_pickle *pickle, size_t count, size_t size);
dns_status dns_pickle_append(dns_pickle *pickle, dns_pickle_value *list, dns_pickle_value *item);
/* Refuses cycles, depth and bombs of shared values. */
dns_status dns_pickle_check(dns_pickle_value *root, const char *source);

struct dns_pickle {
    struct pickle_block *blocks;
    size_t n_values;
    dns_pickle_value *root;
};

#endif
