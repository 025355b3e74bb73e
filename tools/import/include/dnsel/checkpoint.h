/*
 * Files of named tensors that other programs wrote, read without running anything in them: PyTorch
 * checkpoints (the zip container of 1.6 and later and the one before), safetensors, NumPy .npz and
 * .npy, and pickles of NumPy arrays.
 */
#ifndef DNSEL_CHECKPOINT_H
#define DNSEL_CHECKPOINT_H

#include "dnsel/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Read whole; immutable; tensors are row-major, little-endian, and die with it. */
typedef struct dns_checkpoint dns_checkpoint;

/* What a file is is told from its first bytes. Of a PyTorch dictionary {"model": state dict,
 * "optimizer": ..., ...} (also "state_dict", "model_state_dict") the tensors are those of the state
 * dict under their own names, and the rest is metadata; of any other value, all tensors in it,
 * nested names joined by a dot. Tensors that share memory each get their values; those with other
 * strides are copied into row-major order.
 *
 * Errors: DNS_ERR_NOTFOUND, DNS_ERR_IO; DNS_ERR_FORMAT (none of these kinds of file),
 * DNS_ERR_CORRUPT (cut short, a checksum that is not right, a tensor outside its storage),
 * DNS_ERR_VERSION, DNS_ERR_UNSUPPORTED (names that would have to be run, types without a dns_dtype,
 * TorchScript), DNS_ERR_LIMIT (unpacks to more than 16 times the file and 64 MiB, or
 * dnsel/pickle.h). */
DNS_API DNS_MUST_CHECK dns_status dns_checkpoint_open(dns_checkpoint **out, const char *path);
/* The same from memory, which may be freed after the call, except that of safetensors, which is
 * borrowed until close. */
DNS_API DNS_MUST_CHECK dns_status dns_checkpoint_open_memory(dns_checkpoint **out,
                                                             const void *bytes, size_t size,
                                                             const char *source);
DNS_API void dns_checkpoint_close(dns_checkpoint *checkpoint);

/* "pytorch", "pytorch-legacy", "safetensors", "npz", "npy", "pickle". */
DNS_API const char *dns_checkpoint_container(const dns_checkpoint *checkpoint);
/* The key under which the state dict lay: "model"; "" when the tensors are those of the whole file.
 */
DNS_API const char *dns_checkpoint_part(const dns_checkpoint *checkpoint);
/* One JSON object: what else the file says ("global_step", "args", ...), or the metadata of a
 * safetensors file. */
DNS_API const char *dns_checkpoint_metadata(const dns_checkpoint *checkpoint);

/* Sorted by name. All tensors lie in one array of dns_checkpoint_count entries, so that it can be
 * written as it is. */
DNS_API size_t dns_checkpoint_count(const dns_checkpoint *checkpoint);
DNS_API const dns_named_tensor *dns_checkpoint_tensors(const dns_checkpoint *checkpoint);
/* NULL when there is none of that name. */
DNS_API const dns_tensor *dns_checkpoint_find(const dns_checkpoint *checkpoint, const char *name);

/* Writes tensors as a NumPy .npz, atomically, uncompressed, in the given order. A bfloat16 tensor
 * becomes float32, which NumPy has. The same input gives the same bytes. */
DNS_API DNS_MUST_CHECK dns_status dns_npz_write(const char *path, const dns_named_tensor *tensors,
                                                size_t n_tensors);

#ifdef __cplusplus
}
#endif

#endif
