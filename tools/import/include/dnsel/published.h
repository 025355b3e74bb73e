/*
 * Which of the published networks a file of tensors holds, told from their names
 * (docs/importing.md), and its tensors as the networks here read them.
 */
#ifndef DNSEL_PUBLISHED_H
#define DNSEL_PUBLISHED_H

#include "dnsel/checkpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_published_kind {
    DNS_PUBLISHED_NONE,           /* something else */
    DNS_PUBLISHED_FINE_ATTENTION, /* dns_fg_att_student.pth; s2vs_dns.pth, s2vs_vcdb.pth are the
                                     same network */
    DNS_PUBLISHED_FINE_BINARY,    /* dns_fg_bin_student.pth */
    DNS_PUBLISHED_COARSE,         /* dns_cg_student.pth */
    DNS_PUBLISHED_SELECTOR,       /* dns_selector_cg-fg_att.pth, dns_selector_cg-fg_bin.pth */
    DNS_PUBLISHED_TEACHER,        /* visil.pth, visil_symmetric.pth */
    DNS_PUBLISHED_WHITENING, /* pca_resnet50_vcdb_1M.pth: mean, d, V; or pca.mean, pca.DVt of an
                                extractor */
    DNS_PUBLISHED_ITQ,       /* itq_resnet50W_dns100k_1M.pth, itq.npz: proj */
    DNS_PUBLISHED_BACKBONE   /* a state dict of one of dnsel/backbone.h, also behind "cnn." */
} dns_published_kind;

/* "fine_attention", ... as sections of a model are called; "" for NONE. */
DNS_API const char *dns_published_name(dns_published_kind kind);

/* A file may hold several (an extractor has a backbone and a whitening): then the first in the
 * order above. Names may all begin with "module.", as data-parallel training writes them. */
DNS_API dns_published_kind dns_published_recognise(const dns_checkpoint *checkpoint);

/* The tensors of one network. */
typedef struct dns_published {
    dns_published_kind kind;
    /* Under their published names without prefix, floating ones as F32, all shapes as the network
     * wants them. */
    dns_named_tensor *tensors;
    size_t n_tensors;
    size_t dim;      /* D: values of a region vector that the network takes; 0 for a backbone */
    size_t n_unused; /* tensors of the file that are not part of it */
    /* Length of the teacher's u in the file when it was off by more than 1e-6, so that it has been
     * divided by it; 0 otherwise. */
    double u_length;
    void **blocks; /* private: what the tensors point to */
    size_t n_blocks;
} dns_published;

/* Picks the network of a kind out of a file, which must stay open while *out is used. Of a backbone
 * all tensors are taken, without a prefix "cnn.", and neither shapes nor completeness are looked
 * at: dns_backbone_graph does that. Errors: DNS_ERR_UNSUPPORTED (the file is no such network, or
 * lacks a tensor), DNS_ERR_SHAPE (sizes that do not fit each other), DNS_ERR_RANGE (a value that is
 * not finite); they name the tensor. */
DNS_API DNS_MUST_CHECK dns_status dns_published_select(dns_published **out,
                                                       const dns_checkpoint *checkpoint,
                                                       dns_published_kind kind);
DNS_API void dns_published_free(dns_published *published);

#ifdef __cplusplus
}
#endif

#endif
