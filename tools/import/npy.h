/* Headers of NumPy's .npy format (versions 1 to 3), which .npz archives hold too. */
#ifndef DNS_NPY_H
#define DNS_NPY_H

#include "strided.h"

enum { DNS_NPY_HEADER_LIMIT = 1 << 16 };

typedef struct npy_header {
    dns_dtype dtype;
    bool is_swapped; /* big-endian */
    bool is_column_major;
    size_t rank, shape[DNS_TENSOR_RANK];
    size_t count;      /* elements */
    size_t offset;     /* of the first element from the beginning of the file */
    size_t characters; /* of each element of an array of text, 4 bytes each; dtype then means
                          nothing. 0: numbers */
} npy_header;

/* "f4", "i8", "u1", "b1" and so on; false for those without a dns_dtype. */
bool dns_npy_dtype(dns_dtype *dtype, const char *code, size_t size);
/* The same the other way; "V2" for bfloat16, which NumPy does not have. */
const char *dns_npy_code(dns_dtype dtype);

bool dns_npy_recognise(const void *bytes, size_t size);

/* Reads a header from the first `size` bytes of a file (DNS_NPY_HEADER_LIMIT are always enough).
 * Errors: DNS_ERR_FORMAT, DNS_ERR_VERSION, DNS_ERR_CORRUPT (cut short, sizes that overflow),
 * DNS_ERR_UNSUPPORTED (objects, text, records). */
dns_status dns_npy_parse(npy_header *out, const void *bytes, size_t size, const char *source);

/* The same for an array of text ('<U12'), DNS_ERR_UNSUPPORTED for any other. */
dns_status dns_npy_parse_text(npy_header *out, const void *bytes, size_t size, const char *source);

/* *out = a tensor over a copy of the elements, row-major and little-endian, at *owned (freed with
 * dns_free); `data` are the `size` bytes after the header. DNS_ERR_CORRUPT when they are too few.
 */
dns_status dns_npy_tensor(dns_tensor *out, void **owned, const npy_header *header, const void *data,
                          size_t size, const char *source);

/* Writes the header of a row-major tensor into `out` (a multiple of 64 bytes, as NumPy does);
 * returns its size. */
size_t dns_npy_write_header(char out[256 + 64], const dns_tensor *tensor);

#endif
