#include "dnsel/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DNS_F32] = {"F32", 4},   [DNS_F64] = {"F64", 8}, [DNS_F16] = {"F16", 2},
    [DNS_BF16] = {"BF16", 2}, [DNS_I8] = {"I8", 1},   [DNS_U8] = {"U8", 1},
    [DNS_I16] = {"I16", 2},   [DNS_U16] = {"U16", 2}, [DNS_I32] = {"I32", 4},
    [DNS_U32] = {"U32", 4},   [DNS_I64] = {"I64", 8}, [DNS_U64] = {"U64", 8},
    [DNS_BOOL] = {"BOOL", 1},
};

size_t dns_dtype_size(dns_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *dns_dtype_name(dns_dtype dtype)
{
    return dtypes[dtype].name;
}

bool dns_dtype_parse(dns_dtype *dtype, const char *text)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, text) == 0) {
            *dtype = (dns_dtype)i;
            return true;
        }
    return false;
}

dns_tensor dns_tensor_f32(const float *data, size_t rank, const size_t *shape)
{
    dns_tensor tensor = {.dtype = DNS_F32, .rank = rank, .data = data};
    for (size_t i = 0; i < rank; i++)
        tensor.shape[i] = shape[i];
    return tensor;
}

size_t dns_tensor_count(const dns_tensor *tensor)
{
    size_t count = 1;
    for (size_t i = 0; i < tensor->rank; i++)
        count *= tensor->shape[i];
    return count;
}

size_t dns_tensor_bytes(const dns_tensor *tensor)
{
    return dns_tensor_count(tensor) * dns_dtype_size(tensor->dtype);
}

void dns_tensor_shape_text(const dns_tensor *tensor, char *text, size_t size)
{
    size_t n = 0;
    if (size == 0)
        return;
    text[0] = '\0';
    for (size_t i = 0; i <= tensor->rank && n < size; i++) {
        int wrote =
            i < tensor->rank
                ? snprintf(text + n, size - n, "%c%zu", i == 0 ? '[' : ',', tensor->shape[i])
                : snprintf(text + n, size - n, "%s", tensor->rank == 0 ? "[]" : "]");
        n += wrote > 0 ? (size_t)wrote : 0;
    }
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t dns_f16_from_f32(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) /* NaN stays NaN */
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x33000001) /* up to 2^-25 rounds to zero */
        return (uint16_t)sign;
    uint32_t exponent = magnitude >> 23, fraction = magnitude & 0x7fffff, drop = 13, half;
    if (exponent >= 113) {
        half = (exponent - 112) << 10 | fraction >> 13;
    } else { /* subnormal: the hidden one becomes a bit like the others */
        drop = 126 - exponent;
        fraction |= 0x800000;
        half = fraction >> drop;
    }
    uint32_t rest = fraction & ((1u << drop) - 1), middle = 1u << (drop - 1);
    if (rest > middle || (rest == middle && (half & 1)))
        half++; /* a carry into the exponent is just right */
    return (uint16_t)(sign | half);
}

float dns_f32_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 0x1f,
             fraction = half & 0x3ff;
    if (exponent == 0x1f)
        return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0)
        return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    float tiny = (float)fraction * 0x1p-24f;
    return sign ? -tiny : tiny;
}

/* The data of a file need not be aligned, so elements are copied out. */
#define CONVERT(type, expression)                  \
    for (size_t i = 0; i < n; i++) {               \
        type v;                                    \
        memcpy(&v, data + i * sizeof v, sizeof v); \
        out[i] = (expression);                     \
    }                                              \
    break

void dns_tensor_to_f32(float *out, const dns_tensor *tensor)
{
    const char *data = tensor->data;
    size_t n = dns_tensor_count(tensor);
    switch (tensor->dtype) {
    case DNS_F32:
        if (n > 0)
            memcpy(out, data, n * sizeof *out);
        break;
    case DNS_F64:
        CONVERT(double, (float)v);
    case DNS_F16:
        CONVERT(uint16_t, dns_f32_from_f16(v));
    case DNS_BF16:
        CONVERT(uint16_t, float_of((uint32_t)v << 16));
    case DNS_I8:
        CONVERT(int8_t, (float)v);
    case DNS_U8:
        CONVERT(uint8_t, (float)v);
    case DNS_I16:
        CONVERT(int16_t, (float)v);
    case DNS_U16:
        CONVERT(uint16_t, (float)v);
    case DNS_I32:
        CONVERT(int32_t, (float)v);
    case DNS_U32:
        CONVERT(uint32_t, (float)v);
    case DNS_I64:
        CONVERT(int64_t, (float)v);
    case DNS_U64:
        CONVERT(uint64_t, (float)v);
    case DNS_BOOL:
        CONVERT(uint8_t, v != 0 ? 1.0f : 0.0f);
    }
}
