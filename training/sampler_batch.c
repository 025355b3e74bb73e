#include "dnsel/sampler.h"

/* All videos of a scene are in one fold, so scenes can be counted by fold. */
size_t dns_sampler_fitting_batch(const dns_training_set *set, size_t batch)
{
    size_t n_folds = dns_training_set_n_folds(set), n = 0, most = 0;
    for (size_t fold = 0; fold < n_folds; fold++) {
        size_t here = 0;
        for (size_t scene = 0; scene < dns_training_set_n_scenes(set); scene++) {
            bool found = false;
            for (size_t i = 0; i < dns_training_set_n_videos(set) && !found; i++) {
                const dns_training_video *v = dns_training_set_video(set, i);
                found = v->scene == scene && v->fold == fold && !v->host;
            }
            here += found;
        }
        n += here;
        most = here > most ? here : most;
    }
    size_t left = n > most ? n - most : 0;
    left = left < 2 ? 2 : left;
    return batch < left ? batch : left;
}
