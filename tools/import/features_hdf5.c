#include "features_backend.h"

#include <string.h>

#ifdef DNS_HDF5

#include <hdf5.h>

#include "dnsel/memory.h"

enum { MAX_FILTER = H5Z_FILTER_SCALEOFFSET, MAX_CHUNK = 256 << 20 };

/* The library prints its errors unless told otherwise; a program that uses it too keeps its own
 * setting. */
typedef struct silence {
    H5E_auto2_t print;
    void *payload;
} silence;

static silence begin_silence(void)
{
    silence kept = {NULL, NULL};
    H5Eget_auto2(H5E_DEFAULT, &kept.print, &kept.payload);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return kept;
}

static void end_silence(silence kept)
{
    H5Eset_auto2(H5E_DEFAULT, kept.print, kept.payload);
}

/* Text of the innermost error. */
static herr_t keep_first(unsigned n, const H5E_error2_t *error, void *payload)
{
    if (n == 0 && error->desc != NULL)
        *(const char **)payload = error->desc;
    return 0;
}

static dns_status damaged(void)
{
    const char *text = "damaged";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &text);
    return dns_status_set(DNS_ERR_CORRUPT, "HDF5: %s", text);
}

/* ---- the list ---- */

typedef struct listing {
    dns_features_file *file;
    dns_status status;
} listing;

/* Soft and external links are not followed, and an object with several names is visited once. */
static herr_t add_dataset(hid_t root, const char *name, const H5O_info_t *about, void *payload)
{
    listing *list = payload;
    if (about->type == H5O_TYPE_DATASET)
        list->status = dns_features_add(list->file, name, strlen(name), 0, 0);
    return list->status == DNS_OK ? 0 : -1;
}

static bool recognise(const dns_features_file *file)
{
    return file->mapping.size >= 8 && memcmp(file->mapping.data, "\x89HDF\r\n\x1a\n", 8) == 0;
}

static dns_status open_file(dns_features_file *file)
{
    /* After a damaged file the library's own clean-up at exit goes astray and prints; reading needs
     * none. Without effect in a program that has used the library before. */
    H5dont_atexit();
    silence kept = begin_silence();
    hid_t *handle, access = H5Pcreate(H5P_FILE_ACCESS);
    listing list = {file, dns_alloc(&handle, 1, sizeof *handle)};
    dns_mapping_close(&file->mapping);
    if (list.status == DNS_OK) {
        file->handle = handle;
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG); /* whatever a damaged file has left open */
        *handle = H5Fopen(file->path, H5F_ACC_RDONLY, access);
        if (*handle < 0 || (H5Ovisit2(*handle, H5_INDEX_NAME, H5_ITER_NATIVE, add_dataset, &list,
                                      H5O_INFO_BASIC) < 0 &&
                            list.status == DNS_OK))
            list.status = dns_status_context(damaged(), "%s", file->path);
    }
    H5Pclose(access);
    end_silence(kept);
    return list.status;
}

static void close_file(void *handle)
{
    hid_t *file = handle;
    silence kept = begin_silence();
    if (*file >= 0)
        H5Fclose(*file);
    end_silence(kept);
    dns_free(file);
}

/* ---- one dataset ---- */

typedef struct dataset {
    hid_t id, space, type, layout;
    int rank;
    hsize_t sizes[H5S_MAX_RANK];
} dataset;

static void close_dataset(dataset *d)
{
    if (d->layout >= 0)
        H5Pclose(d->layout);
    if (d->type >= 0)
        H5Tclose(d->type);
    if (d->space >= 0)
        H5Sclose(d->space);
    if (d->id >= 0)
        H5Dclose(d->id);
}

/* Refuses what lies in other files, what needs code that is not in the library, and chunks that
 * would fill the memory. */
static dns_status check_layout(const dataset *d)
{
    H5D_layout_t layout = H5Pget_layout(d->layout);
    hsize_t chunk[H5S_MAX_RANK];
    if (layout == H5D_VIRTUAL || H5Pget_external_count(d->layout) != 0)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "its data lie in other files");
    if (layout != H5D_CHUNKED)
        return DNS_OK;
    int rank = H5Pget_chunk(d->layout, H5S_MAX_RANK, chunk);
    size_t bytes = H5Tget_size(d->type);
    for (int i = 0; i < rank; i++)
        if (!dns_size_multiply(bytes, (size_t)chunk[i], &bytes) || bytes > MAX_CHUNK)
            return dns_status_set(DNS_ERR_LIMIT, "chunks of more than %d MiB", MAX_CHUNK >> 20);
    int n_filters = H5Pget_nfilters(d->layout);
    for (int i = 0; i < n_filters; i++) {
        unsigned flags, settings;
        size_t n_values = 0;
        H5Z_filter_t filter =
            H5Pget_filter2(d->layout, (unsigned)i, &flags, &n_values, NULL, 0, NULL, &settings);
        if (filter < 0 || filter > MAX_FILTER || H5Zfilter_avail(filter) <= 0)
            return dns_status_set(DNS_ERR_UNSUPPORTED,
                                  "compressed by a filter (%d) that is not there", (int)filter);
    }
    return DNS_OK;
}

static dns_status open_dataset(dataset *d, const dns_features_file *file, const char *name)
{
    *d = (dataset){-1, -1, -1, -1, 0, {0}};
    d->id = H5Dopen2(*(const hid_t *)file->handle, name, H5P_DEFAULT);
    if (d->id < 0)
        return damaged();
    d->space = H5Dget_space(d->id);
    d->type = H5Dget_type(d->id);
    d->layout = H5Dget_create_plist(d->id);
    if (d->space < 0 || d->type < 0 || d->layout < 0)
        return damaged();
    H5T_class_t class = H5Tget_class(d->type);
    if ((class != H5T_FLOAT && class != H5T_INTEGER) || H5Tget_size(d->type) > 8)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "not an array of numbers");
    d->rank = H5Sget_simple_extent_ndims(d->space);
    if (d->rank < 0 || H5Sget_simple_extent_dims(d->space, d->sizes, NULL) < 0)
        return damaged();
    return check_layout(d);
}

static dns_status read_shape(size_t shape[8], size_t *rank, dns_features_file *file,
                             const features_video *video)
{
    dataset d;
    silence kept = begin_silence();
    dns_status status = open_dataset(&d, file, video->id);
    *rank = (size_t)(d.rank > 0 ? d.rank : 0);
    for (size_t i = 0; i < *rank && i < 8; i++)
        shape[i] = (size_t)d.sizes[i];
    close_dataset(&d);
    end_silence(kept);
    return status;
}

static dns_status read_frames(float *out, dns_features_file *file, const features_video *video,
                              size_t first, size_t n_frames, size_t width)
{
    dataset d;
    hid_t memory = -1;
    silence kept = begin_silence();
    dns_status status = DNS_OK;
    DNS_TRY(open_dataset(&d, file, video->id));
    hsize_t start[H5S_MAX_RANK] = {first};
    d.sizes[0] = n_frames;
    memory = H5Screate_simple(d.rank, d.sizes, NULL);
    if (memory < 0 ||
        H5Sselect_hyperslab(d.space, H5S_SELECT_SET, start, NULL, d.sizes, NULL) < 0 ||
        (size_t)H5Sget_select_npoints(d.space) != n_frames * width ||
        H5Dread(d.id, H5T_NATIVE_FLOAT, memory, d.space, H5P_DEFAULT, out) < 0)
        status = damaged();
out:
    if (memory >= 0)
        H5Sclose(memory);
    close_dataset(&d);
    end_silence(kept);
    return status;
}

const features_backend dns_features_hdf5 = {"hdf5",     recognise,  open_file,
                                            close_file, read_shape, read_frames};

bool dns_features_file_has_hdf5(void)
{
    return true;
}

#else

static bool recognise(const dns_features_file *file)
{
    return file->mapping.size >= 8 && memcmp(file->mapping.data, "\x89HDF\r\n\x1a\n", 8) == 0;
}

static dns_status open_file(dns_features_file *file)
{
    return dns_status_set(DNS_ERR_UNSUPPORTED, "%s: HDF5, which this library was built without",
                          file->path);
}

/* Without an open file there is nothing to close, to measure or to read. */
const features_backend dns_features_hdf5 = {
    .container = "hdf5", .recognise = recognise, .open = open_file};

bool dns_features_file_has_hdf5(void)
{
    return false;
}

#endif
