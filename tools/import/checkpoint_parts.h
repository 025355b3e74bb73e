/* What the readers of each container share. */
#ifndef DNS_CHECKPOINT_PARTS_H
#define DNS_CHECKPOINT_PARTS_H

#include "dnsel/checkpoint.h"
#include "dnsel/pickle.h"
#include "zip_file.h"

struct dns_checkpoint {
    const char *container;
    char *part, *metadata;
    dns_named_tensor *tensors;
    size_t n_tensors, capacity;
    void **blocks; /* everything that names and tensors point to */
    size_t n_blocks, blocks_capacity;
    size_t budget; /* bytes that may still be unpacked */
    dns_mapping mapping;
    dns_safetensors *safetensors;
};

/* Takes a block over, to be freed with the checkpoint, also when this fails. */
dns_status dns_checkpoint_own(dns_checkpoint *c, void *block);
/* DNS_ERR_LIMIT when the file has unpacked too far. */
dns_status dns_checkpoint_spend(dns_checkpoint *c, size_t bytes, const char *source);
/* A copy of the name; the data must be owned. */
dns_status dns_checkpoint_add(dns_checkpoint *c, const char *name, const dns_tensor *tensor);

/* Takes what a JSON writer made over for dns_checkpoint_metadata, without the new line at its end.
 */
dns_status dns_checkpoint_set_metadata(dns_checkpoint *c, const char *text, size_t size);

/* "<name>/" of the entry <name>/data.pkl, to be freed with dns_free; NULL when the archive has
 * none. */
dns_status dns_torch_prefix(char **out, const dns_zip *zip);
dns_status dns_checkpoint_read_torch_zip(dns_checkpoint *c, const dns_zip *zip, const char *prefix,
                                         const char *source);
bool dns_torch_legacy_recognise(const void *bytes, size_t size);
dns_status dns_checkpoint_read_torch_legacy(dns_checkpoint *c, const void *bytes, size_t size,
                                            const char *source);
/* A pickle that refers to nothing outside it. */
dns_status dns_checkpoint_read_pickle(dns_checkpoint *c, const void *bytes, size_t size,
                                      const char *source);
dns_status dns_checkpoint_read_npz(dns_checkpoint *c, const dns_zip *zip, const char *source);
dns_status dns_checkpoint_read_npy(dns_checkpoint *c, const void *bytes, size_t size,
                                   const char *source);

/* Whether a pickled value stands for a tensor: of PyTorch, or an array or scalar of NumPy. */
bool dns_is_pickled_array(const dns_pickle_value *value);
/* The tensor of a NumPy array or scalar; its data is owned by the checkpoint. */
dns_status dns_checkpoint_numpy(dns_tensor *out, dns_checkpoint *c, const dns_pickle_value *value,
                                const char *source);

#endif
