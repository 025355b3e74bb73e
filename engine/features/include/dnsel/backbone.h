/*
 * The networks whose maps become region features: what they are called, what they want to see,
 * which maps are used, and how their weights become a graph (dnsel/convnet.h).
 *
 *   resnet50            docs/features.md: torchvision's ResNet-50 (stride on the 3x3 convolution);
 * maps after the four stages, 256 + 512 + 1024 + 2048 = 3840 values a region. The features of the
 * published DnS. efficientnet-lite0  the default: EfficientNet without squeeze-excite, ReLU6; the
 * expanded maps that enter the efficientnet-lite1  strided depthwise convolutions of stages 3, 4
 * and 6, and the head: 144 + 240 + 672 + 1280 = efficientnet-lite2  2336 values (2432 for lite2).
 * All run at 224x224.
 */
#ifndef DNSEL_BACKBONE_H
#define DNSEL_BACKBONE_H

#include "dnsel/convnet.h"
#include "dnsel/file.h"
#include "dnsel/safetensors.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_BACKBONE_TAPS = 4, DNS_REGIONS = 9 };

/* A map that is pooled to 3x3 regions: maxima over windows, offsets 0, stride, 2 * stride, no
 * padding. */
typedef struct dns_backbone_tap {
    const char *layer;     /* name of the node */
    size_t channels, size; /* the map is size x size */
    size_t window, stride;
} dns_backbone_tap;

typedef struct dns_backbone {
    const char *name;
    size_t input_size; /* width and height of a frame */
    /* What the network sees of a byte x of channel c (RGB): (x - mean[c]) / deviation[c]. */
    double mean[3], deviation[3];
    double epsilon; /* of batch normalisation */
    dns_backbone_tap taps[DNS_BACKBONE_TAPS];
    size_t region_dim; /* sum of the channels */
} dns_backbone;

DNS_API size_t dns_backbone_count(void);
DNS_API const dns_backbone *dns_backbone_at(size_t index);
/* DNS_ERR_UNSUPPORTED, and the message lists the known ones. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_find(const dns_backbone **out, const char *name);

/* *out = where the converted weights of a backbone lie, as tools/setup puts them:
 * $DNS_BACKBONES/<name>.safetensors, or $DNS_CACHE/backbones/<name>.safetensors, or
 * ${XDG_CACHE_HOME:-$HOME/.cache}/dnsel/backbones/<name>.safetensors; to be freed with dns_free.
 * The file need not exist. DNS_ERR_NOTFOUND when no home folder is known. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_path(char **out, const char *name);

/* *out = the graph of the network with its four taps, all weights f32, batch normalisation folded
 * into the convolutions.
 *
 * `base` holds the tensors under the names of the PyTorch state dict ("layer1.0.conv1.weight", also
 * behind "cnn." as in the published extractor; "_blocks.3._expand_conv.weight"). `tail`, which may
 * be NULL, holds tensors that replace those of single layers. A layer whose "<layer>.bias" exists
 * is taken as already folded; the others need the four tensors of their batch normalisation. Nodes
 * carry the names of the layers, so a trained tail is saved as "<node>.weight" and
 * "<node>.bias". Tensors that no layer uses are ignored in `base`, and an error in `tail`.
 * DNS_ERR_NOTFOUND, DNS_ERR_SHAPE, DNS_ERR_RANGE (not finite, variance below 0), DNS_ERR_FORMAT. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_graph(dns_graph **out, const dns_backbone *backbone,
                                                     const dns_safetensors *base,
                                                     const dns_safetensors *tail);

/* Digest of the tensors of `base` that the network uses: names, types, shapes and bytes. The same
 * whatever else the file holds. Errors as above. */
DNS_API DNS_MUST_CHECK dns_status dns_backbone_digest(dns_digest *out, const dns_backbone *backbone,
                                                      const dns_safetensors *base);

#ifdef __cplusplus
}
#endif

#endif
