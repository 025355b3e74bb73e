# Features without videos: imported, asked for by id, gone on with; and disk full, two writers.
NEEDS_BACKBONE=no
. "$(dirname "$0")/lib.sh" "$@"
DATA=$CLIPS/../import
mkdir model
echo '{"schema": "dnsel.model/1", "name": "test", "coarse": {"kind": "mean", "dim": 16}}' >model/model.json
export DNS_MODEL=$work/model

files="features.npz features.safetensors features.hdf5"
dns-model info "$DATA/features.hdf5" >/dev/null 2>&1 || files="features.npz features.safetensors"
for file in $files; do
    rm -rf i.dns
    want 3 dns-index import i.dns "$DATA/$file"
    says "2 added"
    says "$DATA/$file: global: 1 regions a frame"
    check "one line" test "$(wc -l <"$work/err")" = 1
    want 3 dns-index import i.dns "$DATA/$file"
    says "2 unchanged"
    want 0 dns-query i.dns vid_a 1/1_1_Y --ndjson
    says '"query":"vid_a","results":[{"rank":1,"id":"vid_a","path":"","score":1'
    says '{"rank":1,"id":"1/1_1_Y"'
    want 0 dns-index verify i.dns
done
want 0 dns-index import i.dns "$DATA/features.npy"
says "1 added"
want 2 dns-query i.dns nobody
want 3 dns-index import i.dns "$DATA/features.npy" nowhere.npz
says "nowhere.npz"
want 2 dns-index import j.dns nowhere.npz
want 12 dns-index import j.dns "$DATA/refused.text.npy" "$CLIPS/birds.mp4"
want 12 dns-index import j.dns "$DATA/features.npy" --keep fine_binary
says "no network for fine_binary"
want 2 dns-index import j.dns "$DATA/features.npy" --keep regions:u8
want 2 dns-index import j.dns "$DATA/features.npy" --keep nothing
check "nothing made" test ! -e j.dns
want 0 dns-index import j.dns "$DATA/features.npy" --keep regions:f32,archive,codes:int8
want 0 dns-index stat j.dns --json
says '"archive"'
want 2 dns-index import j.dns "$DATA/features.npy" --keep archive
says "dns-index tiers j.dns"

# A limit on file sizes is a full disk; space given back, the import goes on.
want 28 bash -c "ulimit -f 40; dns-index import full.dns '$DATA/features.npz' --keep regions:f32"
want 3 dns-index import full.dns "$DATA/features.npz"
want 0 dns-index verify full.dns
want 0 dns-query full.dns vid_a

finish
