/* Training sets from feature files that others extracted. */
#ifndef DNS_PREPARE_FEATURES_H
#define DNS_PREPARE_FEATURES_H

#include "dnsel/preparation.h"

/* Reads every video of the files (dnsel/features_file.h), at most options->max_frames frames of
 * each from its beginning, as originals without copies. A video that cannot be read is named to the
 * logger and left out. Errors as dns_training_prepare. */
DNS_MUST_CHECK dns_status dns_prepare_from_features(dns_preparation_report *report,
                                                    const char *directory, const char *const *files,
                                                    size_t n_files,
                                                    const dns_preparation_options *options);

#endif
