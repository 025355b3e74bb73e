#include "faiss_shim.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <vector>

#include <faiss/IndexBinaryFlat.h>
#include <faiss/IndexBinaryHNSW.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexFlatCodes.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexIVFPQFastScan.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPQFastScan.h>
#include <faiss/IndexRefine.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <faiss/invlists/OnDiskInvertedLists.h>

namespace
{

template <typename Action> bool guarded(faiss_error *error, Action action)
{
    const char *text = "unknown exception";
    error->no_memory = false;
    try {
        action();
        return true;
    } catch (const std::bad_alloc &) {
        error->no_memory = true;
        text = "out of memory";
    } catch (const faiss::FaissException &e) {
        std::snprintf(error->text, sizeof error->text, "%s", e.what());
        return false;
    } catch (const std::exception &e) {
        std::snprintf(error->text, sizeof error->text, "%s", e.what());
        return false;
    } catch (...) {
    }
    std::snprintf(error->text, sizeof error->text, "%s", text);
    return false;
}

faiss::Index *floats(const faiss_handle *index)
{
    return reinterpret_cast<faiss::Index *>(index->f32);
}

faiss::IndexBinary *codes(const faiss_handle *index)
{
    return reinterpret_cast<faiss::IndexBinary *>(index->codes);
}

/* The parts of an index that is wrapped in others. */
struct parts {
    faiss::IndexIDMap *ids = nullptr;
    faiss::IndexRefine *refine = nullptr;
    faiss::Index *core = nullptr;
    faiss::IndexIVF *ivf = nullptr;
    faiss::IndexHNSW *graph = nullptr;

    explicit parts(faiss::Index *index)
    {
        core = index;
        if ((ids = dynamic_cast<faiss::IndexIDMap *>(core)))
            core = ids->index;
        if ((refine = dynamic_cast<faiss::IndexRefine *>(core)))
            core = refine->base_index;
        ivf = dynamic_cast<faiss::IndexIVF *>(core);
        graph = dynamic_cast<faiss::IndexHNSW *>(core);
    }
};

struct binary_parts {
    faiss::IndexBinaryIDMap *ids = nullptr;
    faiss::IndexBinary *core = nullptr;
    faiss::IndexBinaryIVF *ivf = nullptr;
    faiss::IndexBinaryHNSW *graph = nullptr;

    explicit binary_parts(faiss::IndexBinary *index)
    {
        core = index;
        if ((ids = dynamic_cast<faiss::IndexBinaryIDMap *>(core)))
            core = ids->index;
        ivf = dynamic_cast<faiss::IndexBinaryIVF *>(core);
        graph = dynamic_cast<faiss::IndexBinaryHNSW *>(core);
    }
};

/* FAISS prints a warning when it has fewer training vectors than it likes; and it spends most of
 * the training of a PQ on an order of the centroids (polysemous) that nothing here uses. */
void tune(faiss::Index *core)
{
    const int enough = 1;
    if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(core))
        ivf->cp.min_points_per_centroid = enough;
    if (auto *pq = dynamic_cast<faiss::IndexIVFPQ *>(core)) {
        pq->pq.cp.min_points_per_centroid = enough;
        pq->do_polysemous_training = false;
    }
    if (auto *pq = dynamic_cast<faiss::IndexPQ *>(core)) {
        pq->pq.cp.min_points_per_centroid = enough;
        pq->do_polysemous_training = false;
    }
    if (auto *pq = dynamic_cast<faiss::IndexIVFPQFastScan *>(core))
        pq->pq.cp.min_points_per_centroid = enough;
    if (auto *pq = dynamic_cast<faiss::IndexPQFastScan *>(core))
        pq->pq.cp.min_points_per_centroid = enough;
}

/* Only an IVF keeps ids by itself; all others number their vectors. */
void prepare(faiss_handle *handle)
{
    if (handle->codes) {
        binary_parts p(codes(handle));
        if (p.ivf) {
            p.ivf->cp.min_points_per_centroid = 1;
            return;
        }
        auto *ids = new faiss::IndexBinaryIDMap(p.core);
        ids->own_fields = true;
        handle->codes =
            reinterpret_cast<FaissIndexBinary_H *>(static_cast<faiss::IndexBinary *>(ids));
        return;
    }
    parts p(floats(handle));
    tune(p.core);
    if (p.refine)
        p.refine->k_factor = 4;
    if (p.ivf && !p.refine)
        return;
    auto *ids = new faiss::IndexIDMap(floats(handle));
    ids->own_fields = true;
    handle->f32 = reinterpret_cast<FaissIndex_H *>(static_cast<faiss::Index *>(ids));
}

bool is_mapped(const faiss::InvertedLists *lists)
{
    return dynamic_cast<const faiss::OnDiskInvertedLists *>(lists) != nullptr;
}

/* Others (PQ<m>x4fs) throw from within FAISS's threads when an entry is taken out, which ends the
 * process. */
bool can_shrink(const faiss::InvertedLists *lists)
{
    return dynamic_cast<const faiss::ArrayInvertedLists *>(lists) != nullptr;
}

/* A search would start 32 threads of its own to read ahead. */
void stop_read_ahead(faiss::InvertedLists *lists)
{
    if (auto *mapped = dynamic_cast<faiss::OnDiskInvertedLists *>(lists))
        mapped->prefetch_nthread = 0;
}

struct memory_reader : faiss::IOReader {
    const uint8_t *data;
    size_t left;

    memory_reader(const uint8_t *bytes, size_t size) : data(bytes), left(size)
    {
        name = "index";
    }
    size_t operator()(void *out, size_t size, size_t n) override
    {
        n = size == 0 ? 0 : std::min(n, left / size);
        if (n > 0)
            std::memcpy(out, data, n * size);
        data += n * size;
        left -= n * size;
        return n;
    }
};

struct callback_writer : faiss::IOWriter {
    bool (*write)(void *payload, const void *data, size_t size);
    void *payload;

    size_t operator()(const void *data, size_t size, size_t n) override
    {
        return write(payload, data, size * n) ? n : 0;
    }
};

using visitor = bool (*)(void *payload, int64_t id, const float *vector);

/* False when FAISS has no way to give this kind's vectors back. */
template <typename Action> bool reconstructed(Action action)
{
    try {
        action();
        return true;
    } catch (const faiss::FaissException &) {
        return false;
    }
}

bool visit_lists(const faiss::IndexIVF *ivf, visitor visit, void *payload)
{
    std::vector<float> vector(static_cast<size_t>(ivf->d));
    for (size_t list = 0; list < ivf->nlist; list++) {
        faiss::InvertedLists::ScopedIds ids(ivf->invlists, list);
        for (size_t i = 0; i < ivf->invlists->list_size(list); i++) {
            bool told = reconstructed([&] {
                ivf->reconstruct_from_offset(static_cast<int64_t>(list), static_cast<int64_t>(i),
                                             vector.data());
            });
            faiss::Index::idx_t id; /* in a mapped file it lies anywhere */
            std::memcpy(&id, reinterpret_cast<const char *>(ids.get()) + i * sizeof id, sizeof id);
            if (!visit(payload, id, told ? vector.data() : nullptr))
                return false;
        }
    }
    return true;
}

bool visit_numbered(const faiss::IndexIDMap *ids, visitor visit, void *payload)
{
    std::vector<float> vector(static_cast<size_t>(ids->d));
    for (size_t i = 0; i < ids->id_map.size(); i++) {
        bool told = reconstructed(
            [&] { ids->index->reconstruct(static_cast<faiss::Index::idx_t>(i), vector.data()); });
        if (!visit(payload, ids->id_map[i], told ? vector.data() : nullptr))
            return false;
    }
    return true;
}

void read(faiss_handle *out, bool binary, faiss::IOReader *reader, int flags)
{
    if (binary) {
        faiss::IndexBinary *index = faiss::read_index_binary(reader, flags);
        out->codes = reinterpret_cast<FaissIndexBinary_H *>(index);
        if (binary_parts p(index); p.ivf)
            stop_read_ahead(p.ivf->invlists);
    } else {
        faiss::Index *index = faiss::read_index(reader, flags);
        out->f32 = reinterpret_cast<FaissIndex_H *>(index);
        if (parts p(index); p.ivf)
            stop_read_ahead(p.ivf->invlists);
    }
}

} // namespace

extern "C" {

bool dns_faiss_binary_factory(FaissIndexBinary_H **out, int n_bits, const char *factory,
                              faiss_error *error)
{
    return guarded(error, [&] {
        *out = reinterpret_cast<FaissIndexBinary_H *>(faiss::index_binary_factory(n_bits, factory));
    });
}

bool dns_faiss_prepare(faiss_handle *index, faiss_error *error)
{
    return guarded(error, [&] { prepare(index); });
}

faiss_traits dns_faiss_traits(const faiss_handle *index)
{
    faiss_traits traits = {false, false, 0, 0};
    if (index->codes) {
        binary_parts p(codes(index));
        if (p.ivf)
            traits = {can_shrink(p.ivf->invlists), is_mapped(p.ivf->invlists), p.ivf->nlist,
                      p.ivf->nprobe};
        else if (p.graph)
            traits.effort = static_cast<size_t>(p.graph->hnsw.efSearch);
        else
            traits.can_remove = dynamic_cast<faiss::IndexBinaryFlat *>(p.core) != nullptr;
    } else {
        parts p(floats(index));
        if (p.ivf)
            traits = {!p.refine && can_shrink(p.ivf->invlists), is_mapped(p.ivf->invlists),
                      p.ivf->nlist, p.ivf->nprobe};
        else if (p.graph)
            traits.effort = static_cast<size_t>(p.graph->hnsw.efSearch);
        else
            traits.can_remove =
                !p.refine && dynamic_cast<faiss::IndexFlatCodes *>(p.core) != nullptr;
    }
    return traits;
}

bool dns_faiss_set_effort(faiss_handle *index, size_t effort)
{
    if (index->codes) {
        binary_parts p(codes(index));
        if (p.ivf)
            p.ivf->nprobe = std::min(effort, p.ivf->nlist);
        else if (p.graph)
            p.graph->hnsw.efSearch = static_cast<int>(effort);
        return p.ivf || p.graph;
    }
    parts p(floats(index));
    if (p.ivf)
        p.ivf->nprobe = std::min(effort, p.ivf->nlist);
    else if (p.graph)
        p.graph->hnsw.efSearch = static_cast<int>(effort);
    return p.ivf || p.graph;
}

bool dns_faiss_visit(const faiss_handle *index,
                     bool (*visit)(void *payload, int64_t id, const float *vector), void *payload,
                     faiss_error *error)
{
    bool whole = false;
    return guarded(error,
                   [&] {
                       parts p(floats(index));
                       whole = p.ids ? visit_numbered(p.ids, visit, payload)
                                     : visit_lists(p.ivf, visit, payload);
                   }) &&
           whole;
}

bool dns_faiss_write(const faiss_handle *index,
                     bool (*write)(void *payload, const void *data, size_t size), void *payload,
                     faiss_error *error)
{
    return guarded(error, [&] {
        callback_writer writer;
        writer.name = "index";
        writer.write = write;
        writer.payload = payload;
        if (index->codes)
            faiss::write_index_binary(codes(index), &writer);
        else
            faiss::write_index(floats(index), &writer);
    });
}

bool dns_faiss_read(faiss_handle *out, bool binary, const uint8_t *data, size_t size,
                    faiss_error *error)
{
    return guarded(error, [&] {
        memory_reader reader(data, size);
        read(out, binary, &reader, 0);
    });
}

bool dns_faiss_read_mapped(faiss_handle *out, bool binary, FILE *stream, faiss_error *error)
{
    return guarded(error, [&] {
        faiss::FileIOReader reader(stream);
        read(out, binary, &reader, faiss::IO_FLAG_MMAP | faiss::IO_FLAG_READ_ONLY);
    });
}

} // extern "C"
