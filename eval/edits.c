#include "dnsel/edits.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const NAMES[DNS_EDIT_KINDS] = {
    [DNS_EDIT_REENCODE] = "reencode", [DNS_EDIT_CROP] = "crop",
    [DNS_EDIT_FLIP] = "flip",         [DNS_EDIT_ROTATE] = "rotate",
    [DNS_EDIT_OVERLAY] = "overlay",   [DNS_EDIT_COLOUR] = "colour",
    [DNS_EDIT_BLUR] = "blur",         [DNS_EDIT_PAD] = "pad",
    [DNS_EDIT_PIXELATE] = "pixelate", [DNS_EDIT_PIP] = "pip",
    [DNS_EDIT_SPEED] = "speed",       [DNS_EDIT_RATE] = "rate",
    [DNS_EDIT_MIX_A] = "mix-a",       [DNS_EDIT_MIX_B] = "mix-b",
    [DNS_EDIT_MIX_C] = "mix-c",       [DNS_EDIT_EXCERPT] = "excerpt",
    [DNS_EDIT_EMBED] = "embed",
};

const char *dns_edit_name(dns_edit_kind kind)
{
    return NAMES[kind];
}

dns_status dns_edit_parse(dns_edit_kind *out, const char *name)
{
    char known[256];
    size_t used = 0;
    for (int i = 0; i < DNS_EDIT_KINDS; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            *out = (dns_edit_kind)i;
            return DNS_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 NAMES[i]);
    }
    return dns_status_set(DNS_ERR_ARG, "edit '%s' is not one of: %s", name, known);
}

bool dns_edit_needs_host(dns_edit_kind kind)
{
    return kind == DNS_EDIT_PIP || kind == DNS_EDIT_EMBED;
}

/* A chain of filters while it is written, and the size that pictures have at its end. */
typedef struct chain {
    char *text;
    size_t used;
    int width, height;
    dns_random *random;
} chain;

static void add(chain *c, const char *format, ...) DNS_PRINTF(2, 3);

static void add(chain *c, const char *format, ...)
{
    va_list arguments;
    if (c->used > 0)
        c->text[c->used++] = ',';
    va_start(arguments, format);
    c->used +=
        (size_t)vsnprintf(c->text + c->used, DNS_EDIT_FILTER_SIZE - c->used, format, arguments);
    va_end(arguments);
}

static double between(chain *c, double low, double high)
{
    return low + (high - low) * dns_random_uniform(c->random);
}

static int below(chain *c, int n)
{
    return (int)dns_random_below(c->random, (uint64_t)n);
}

static int even(double x)
{
    return x < 4 ? 4 : (int)lrint(x / 2) * 2;
}

static void crop(chain *c)
{
    double side = between(c, .5, .75), x = between(c, 0, 1), y = between(c, 0, 1);
    int width = even(c->width * side), height = even(c->height * side);
    add(c, "crop=%d:%d:%d:%d", width, height, (int)((c->width - width) * x),
        (int)((c->height - height) * y));
    c->width = width;
    c->height = height;
}

static void flip(chain *c)
{
    add(c, "hflip");
}

static void rotate(chain *c)
{
    double degrees = between(c, 8, 30) * (below(c, 2) ? 1 : -1);
    add(c, "rotate=%.4f:fillcolor=black", degrees * 3.14159265358979 / 180);
}

/* Letters and digits on 3 x 5 points, a row in three bits, the top row highest. */
static const uint16_t FONT[36] = {
    /* A-Z */ 025755, 065656, 034443, 065556, 074647, 074644, 034553,
    055755,           072227, 011152, 055655, 044447, 057755, 065555,
    025552,           065644, 025573, 065655, 034216, 072222, 055557,
    055552,           055775, 055255, 055222, 071247,
    /* 0-9 */ 025552, 026227, 061247, 061216, 055711, 074616, 034652,
    071222,           025252, 025316};

/* A word, each run of points in a row a box of its own. */
static void write_word(chain *c, int x, int y, int point, const char *colour)
{
    int n_letters = 4 + below(c, 4), letters[8];
    for (int i = 0; i < 8;
         i++) /* always eight, so that a size never changes what is drawn afterwards */
        letters[i] = below(c, 36);
    for (int i = 0; i < n_letters; i++, x += 4 * point)
        for (int row = 0; row < 5; row++) {
            int bits = FONT[letters[i]] >> (12 - 3 * row) & 7;
            for (int column = 0, run; column < 3; column += run + 1) {
                for (run = 0; column + run < 3 && bits >> (2 - column - run) & 1; run++)
                    ;
                if (run > 0)
                    add(c, "drawbox=%d:%d:%d:%d:%s:fill", x + column * point, y + row * point,
                        run * point, point, colour);
            }
        }
}

static void overlay(chain *c)
{
    static const char *const colours[] = {"white", "black", "yellow",  "red",
                                          "blue",  "green", "0x808080"};
    int n_boxes = 2 + below(c, 3);
    for (int i = 0; i < n_boxes; i++) {
        int width = even(c->width * between(c, .12, .3)),
            height = even(c->height * between(c, .1, .25));
        int x = (int)((c->width - width) * between(c, 0, 1)),
            y = (int)((c->height - height) * between(c, 0, 1));
        add(c, "drawbox=%d:%d:%d:%d:%s:fill", x, y, width, height, colours[below(c, 7)]);
    }
    int shorter = c->width < c->height ? c->width : c->height;
    int point = (int)lrint(shorter * between(c, .012, .02));
    double x = between(c, 0, .4), y = between(c, .05, .9);
    write_word(c, (int)(c->width * x), (int)(c->height * y), point < 1 ? 1 : point,
               colours[below(c, 3)]);
}

/* Every channel times a factor plus an offset. */
static void look_up(chain *c, double factor, double offset)
{
    add(c, "lutrgb=val*%.3f%+.1f:val*%.3f%+.1f:val*%.3f%+.1f", factor, offset, factor, offset,
        factor, offset);
}

static void colour(chain *c)
{
    int which = below(c, 7);
    double strength = between(c, 0, 1);
    switch (which) {
    case 0:
        add(c, "hue=s=0");
        break;
    case 1:
        add(c, "hue=h=%.0f", 40 + 280 * strength);
        break;
    case 2:
        add(c, "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131");
        break;
    case 3:
        look_up(c, .35 + .25 * strength, 0);
        break;
    case 4:
        look_up(c, 1.2, 30 + 40 * strength);
        break;
    case 5:
        add(c, "negate");
        break;
    default: {
        double factor = strength < .5 ? .4 + .4 * strength : 1.2 + 1.2 * strength;
        look_up(c, factor, 128 * (1 - factor));
    }
    }
}

static void blur_or_noise(chain *c)
{
    bool is_blur = below(c, 2) == 0;
    double strength = between(c, 0, 1);
    int seed = below(c, 1 << 30);
    int shorter = c->width < c->height ? c->width : c->height;
    if (is_blur)
        add(c, "gblur=%.3f", (1 + 2 * strength) * shorter / 256);
    else
        add(c, "noise=alls=%.0f:allf=t:all_seed=%d", 15 + 30 * strength, seed);
}

static void pad(chain *c)
{
    static const char *const grounds[] = {"black", "black", "white", "0x404040", "0x203060"};
    double share = between(c, .5, .75), x = between(c, 0, 1), y = between(c, 0, 1);
    const char *ground = grounds[below(c, 5)];
    if (below(c, 5) < 2) { /* bars above and below */
        int height = even(c->height / share);
        add(c, "pad=%d:%d:0:%d:%s", c->width, height, (height - c->height) / 2, ground);
        c->height = height;
        return;
    }
    int width = even(c->width * share), height = even(c->height * share);
    add(c, "scale=%d:%d,pad=%d:%d:%d:%d:%s", width, height, c->width, c->height,
        (int)((c->width - width) * x), (int)((c->height - height) * y), ground);
}

static void pixelate(chain *c)
{
    int shorter = c->width < c->height ? c->width : c->height;
    int side = (int)lrint(between(c, 8, 18) * shorter / 256);
    side = side < 2 ? 2 : side;
    add(c, "pixelize=%d:%d", side, side);
}

static void shrink(chain *c, double low, double high)
{
    double share = between(c, low, high);
    c->width = even(c->width * share);
    c->height = even(c->height * share);
    add(c, "scale=%d:%d", c->width, c->height);
}

/* The host, its last picture repeated, covers the original, and that lies small on top. The
 * original drives both overlays, so that the copy ends with it and nothing in the graph is endless.
 */
static void picture_in_picture(chain *c)
{
    double share = between(c, .4, .62), x = between(c, 0, 1), y = between(c, 0, 1);
    int width = even(c->width * share), height = even(c->height * share);
    add(c, "split[canvas][whole];[whole]scale=%d:%d[small];", width, height);
    c->used +=
        (size_t)snprintf(c->text + c->used, DNS_EDIT_FILTER_SIZE - c->used,
                         "[1]scale=%d:%d:force_original_aspect_ratio=increase,crop=%d:%d[host];"
                         "[canvas][host]overlay[ground];[ground][small]overlay=%d:%d",
                         c->width, c->height, c->width, c->height, (int)((c->width - width) * x),
                         (int)((c->height - height) * y));
}

static void perhaps_flip(chain *c)
{
    if (between(c, 0, 1) < .4)
        flip(c);
}

static void draw_pictures(dns_edit_plan *p, chain *c)
{
    switch (p->base) {
    case DNS_EDIT_REENCODE:
        shrink(c, .4, .7);
        p->quality = 8 + below(c, 18);
        break;
    case DNS_EDIT_CROP:
        crop(c);
        break;
    case DNS_EDIT_FLIP:
        flip(c);
        break;
    case DNS_EDIT_ROTATE:
        rotate(c);
        break;
    case DNS_EDIT_OVERLAY:
        overlay(c);
        break;
    case DNS_EDIT_COLOUR:
        colour(c);
        break;
    case DNS_EDIT_BLUR:
        blur_or_noise(c);
        break;
    case DNS_EDIT_PAD:
        pad(c);
        break;
    case DNS_EDIT_PIXELATE:
        pixelate(c);
        break;
    case DNS_EDIT_PIP:
        picture_in_picture(c);
        break;
    case DNS_EDIT_MIX_A:
        crop(c);
        colour(c);
        perhaps_flip(c);
        break;
    case DNS_EDIT_MIX_B:
        rotate(c);
        overlay(c);
        shrink(c, .3, .5);
        perhaps_flip(c);
        break;
    case DNS_EDIT_MIX_C:
        colour(c);
        pad(c);
        blur_or_noise(c);
        perhaps_flip(c);
        break;
    default:
        add(c, "null");
        break;
    }
}

static void draw_time(dns_edit_plan *p, chain *c)
{
    double u = between(c, 0, 1);
    if (p->base == DNS_EDIT_SPEED)
        p->speed = u < .5 ? .5 + .7 * u : 1.2 + 1.6 * (u - .5);
    else if (p->base == DNS_EDIT_MIX_A || p->base == DNS_EDIT_MIX_B || p->base == DNS_EDIT_MIX_C)
        p->speed = .75 + .6 * u;
    else if (p->base == DNS_EDIT_RATE)
        p->rate = floor(8 + 8 * u);
    double seconds = between(c, 3, 8), around = between(c, 15, 40);
    p->place = between(c, 0, 1);
    p->host_place = between(c, 0, 1);
    p->share = between(c, .15, .85);
    if (p->kind == DNS_EDIT_EXCERPT || p->kind == DNS_EDIT_EMBED)
        p->excerpt = seconds;
    if (p->kind == DNS_EDIT_EMBED)
        p->around = around;
}

void dns_edit_draw(dns_edit_plan *p, dns_edit_kind kind, size_t width, size_t height,
                   dns_random *random)
{
    /* What excerpts look like: mostly the harder edits. */
    static const dns_edit_kind bases[] = {DNS_EDIT_MIX_A, DNS_EDIT_MIX_B,  DNS_EDIT_MIX_C,
                                          DNS_EDIT_CROP,  DNS_EDIT_ROTATE, DNS_EDIT_OVERLAY,
                                          DNS_EDIT_PAD,   DNS_EDIT_COLOUR};
    memset(p, 0, sizeof *p);
    /* Even all the way, for swscale takes chroma from pairs of pixels, the last one too; and not
     * tiny, for gblur gives other bytes every time on planes of 8x8. */
    chain c = {.text = p->filter,
               .width = even(fmax((double)width, 32)),
               .height = even(fmax((double)height, 32)),
               .random = random};
    p->kind = p->base = kind;
    p->width = width;
    p->height = height;
    p->speed = 1;
    if (kind == DNS_EDIT_EXCERPT || kind == DNS_EDIT_EMBED)
        p->base = bases[below(&c, 8)];
    p->uses_host = dns_edit_needs_host(kind);
    p->quality = 25 + below(&c, 56);
    draw_time(p, &c);
    c.used = (size_t)snprintf(c.text, DNS_EDIT_FILTER_SIZE, "[0]scale=%d:%d", c.width, c.height);
    draw_pictures(p, &c);
    snprintf(c.text + c.used, DNS_EDIT_FILTER_SIZE - c.used, "[out]");
}
