# coarse.faiss: made, asked, changed, damaged, refused.
NEEDS_BACKBONE=no
. "$(dirname "$0")/lib.sh" "$@"
DATA=$CLIPS/../import
mkdir model
echo '{"schema": "dnsel.model/1", "name": "test", "coarse": {"kind": "mean", "dim": 16}}' >model/model.json
export DNS_MODEL=$work/model

want 3 dns-index import i.dns "$DATA/features.npz"
want 0 dns-index stat i.dns
says "faiss      Flat of 2 vectors"
want 0 dns-index import i.dns "$DATA/features.npy"
want 0 dns-index stat i.dns --json --recall
says '"factory": "Flat"'
says '"vectors": 3'
says '"scan": "faiss"'
want 0 dns-query i.dns vid_a --rerank none --scan faiss -k 1 --ndjson
says '"results":[{"rank":1,"id":"vid_a"'
says '"scan":"faiss","scan_note":null,"scored":1'
want 0 dns-query i.dns vid_a --rerank none --scan faiss -k 0 --ndjson
says '"scan":"exact","scan_note":"every video was scored","scored":3'
for scan in auto exact int8 codes; do
    want 0 dns-query i.dns vid_a --rerank none --scan $scan -k 1 --ndjson
    says '"results":[{"rank":1,"id":"vid_a"'
done
want 2 dns-query i.dns vid_a --scan nonsense

# What is removed goes from the file, too.
want 0 dns-index remove i.dns vid_a
want 0 dns-index stat i.dns
says "faiss      Flat of 2 vectors"
want 0 dns-index verify i.dns

# Another kind; a kind that is none; too few videos for it.
want 0 dns-index ann i.dns --factory HNSW8
says "HNSW8 of 2 vectors: built"
want 0 dns-index ann i.dns
says "HNSW8 of 2 vectors: 0 brought up to date"
want 2 dns-index ann i.dns --factory nonsense
want 0 dns-index ann i.dns --factory IVF64,SQ8 --json
says '"factory": null'
check "no file" test ! -e i.dns/coarse.faiss
want 0 dns-index ann i.dns --factory none
want 0 dns-index ann i.dns --factory auto --rebuild
says "Flat of 2 vectors"
want 10 dns-index ann nowhere.dns

# A damaged file is told and not used; the next run mends it.
printf 'damage' | dd of=i.dns/coarse.faiss bs=1 seek=200 conv=notrunc 2>/dev/null
want 3 dns-index verify i.dns
says "coarse.faiss: not used"
want 0 dns-query i.dns 1/1_1_Y --rerank none --scan faiss -k 1 --ndjson
says '"scan":"exact","scan_note":"not by faiss'
want 0 dns-index ann i.dns
want 0 dns-index verify i.dns
rm i.dns/coarse.faiss
want 0 dns-query i.dns 1/1_1_Y --rerank none --scan faiss -k 1 --ndjson
says '"scan":"exact","scan_note":"not by faiss'

# Chosen when an index is made.
want 0 dns-index import j.dns "$DATA/features.npy" --ann SQ8
want 0 dns-index stat j.dns
says "faiss      SQ8 of 1 vectors"
want 2 dns-index import j.dns "$DATA/features.npy" --ann Flat
says "dns-index ann j.dns --factory Flat"
want 2 dns-index import k.dns "$DATA/features.npy" --ann nonsense
check "nothing made" test ! -e k.dns
finish
