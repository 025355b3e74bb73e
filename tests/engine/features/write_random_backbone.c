/* write_random_backbone NAME WEIGHTS.safetensors FRAMES.rgb: what
 * tests/data/make/backbone_fixtures.py reads. */
#include <stdio.h>

#include "random_backbone.h"
#include "support.h"

enum { N_FRAMES = 1 };

int main(int argc, char **argv)
{
    static uint8_t frames[N_FRAMES * 224 * 224 * 3];
    if (argc != 4)
        return 2;
    random_backbone_write(argv[1], argv[2]);
    random_frames(frames, N_FRAMES);
    FILE *file = fopen(argv[3], "wb");
    if (file == NULL || fwrite(frames, sizeof frames, 1, file) != 1 || fclose(file) != 0)
        return 1;
    return 0;
}
