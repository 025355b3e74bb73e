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

# All pairs: two videos with the same features are found, once; what is done is not done again.
rm -rf d.dns
want 3 dns-index import d.dns "$DATA/features.npz"
want 1 dns-query d.dns --all --min-score 0.99
want 0 dns-index import d.dns "$DATA/features.npy"
want 0 dns-query d.dns --all --ndjson --min-score 0.99 --resume done
says '"schema":"dnsel.duplicates/1","id":"'
says '"duplicates":[{"id":"'
says '"score":1'
check "each pair once" test "$(grep -c schema "$work/out")" = 1
check "all are done" test "$(grep -cE '^[0-9a-f]{16}$' done)" = 3
check "the pair is noted" test "$(grep -cE '^[0-9a-f]{16} [0-9a-f]{16} ' done)" = 1

# Sets of them, also from what an earlier run found; which to keep, and what is over.
want 0 dns-query d.dns --all --groups --min-score 0.99 --resume done
says "group 1: 2 videos"
says "keep"
cp "$work/out" groups
want 0 dns-query d.dns --all --groups --min-score 0.99
check "the same without it" diff groups "$work/out"
want 0 dns-query d.dns --all --groups --csv --min-score 0.99
says "group,keep,score,direct,id,path,bytes,duration_s,width,height,damaged"
check "one to keep" test "$(grep -c '^1,yes,,,' "$work/out")" = 1
check "one beside it" test "$(grep -cE '^1,no,[01][0-9.]*,yes,' "$work/out")" = 1
want 0 dns-query d.dns --all --groups --ndjson --min-score 0.99
says '{"schema":"dnsel.group/1","group":1,"surplus_bytes":'
want 0 dns-query d.dns --all --groups --surplus --min-score 0.99
check "one name" test "$(wc -l <"$work/out")" = 1
want 0 dns-query d.dns --all --groups --surplus --null --min-score 0.99
check "it ends with NUL" test "$(tail -c 1 "$work/out" | od -An -tx1 | tr -d ' ')" = 00
want 1 dns-query d.dns --all --groups --min-score 1.1
want 2 dns-query d.dns --groups vid_a
want 2 dns-query d.dns --all --surplus
want 2 dns-query d.dns --all --csv
{ echo ffffffffffffffff 0000000000000000 1; printf 'ffffffffffffffff 00'; } >>done
want 0 dns-query d.dns --all --groups --min-score 0.99 --resume done
check "what was not finished counts for nothing" diff groups "$work/out"

# Lists of queries.
printf 'vid_a\n\nnobody\n1/1_1_Y\n' >list
want 3 dns-query i.dns --queries-from list --ndjson
check "two answers" test "$(wc -l <"$work/out")" = 2
tr '\n' '\0' <list >list0
want 3 dns-query i.dns vid_a -f list0 -0 --csv
check "three answers" test "$(grep -c ',1,' "$work/out")" -ge 3
want 0 bash -c "echo vid_a | dns-query i.dns --queries-from - --ndjson"
want 2 dns-query i.dns --queries-from nowhere
want 2 dns-query i.dns --all --queries-from list
want 1 dns-query d.dns --all --ndjson --min-score 0.99 --resume done
head -c -1 done >cut && mv cut done # the last line was not finished: it is done again
want 1 dns-query d.dns --all --min-score 0.99 --resume done
check "all are done" test "$(sort -u done | grep -cE '^[0-9a-f]{16}$')" = 3
want 12 dns-query i.dns --all --min-score 0.99 --resume done
want 0 dns-query d.dns --all --min-score 0.99 --rerank 1
want 2 dns-query d.dns --all --json
want 2 dns-query d.dns --all vid_a
want 2 dns-query d.dns
want 2 dns-query d.dns vid_a --resume done

# Budgets of time and of loss.
want 0 dns-query d.dns vid_a --max-ms 10000 --ndjson
says '"pairs":3,"pairs_wanted":3,"pairs_planned":3'
want 12 dns-query d.dns vid_a --max-loss 0.1
says "no calibration of budgets"

# Another choice of kinds, without videos: through the archive and back; not from nothing.
want 3 dns-index import t.dns "$DATA/features.npz" --keep regions:f32
want 0 dns-index tiers t.dns --keep archive,codes --dry-run
says "would be: 2 changed"
want 0 dns-index tiers t.dns --keep archive,codes
says "2 changed, 0 as they were, 0 failed; keeps coarse:F32,codes:U8,archive:I8"
says "bytes a video:"
want 0 dns-index verify t.dns
want 0 dns-query t.dns vid_a --fine none
want 0 dns-index tiers t.dns --keep regions:f16
want 0 dns-query t.dns vid_a --fine regions
want 0 dns-index tiers t.dns --keep coarse --json
says '"changed": 2'
want 12 dns-index tiers t.dns --keep regions
says "neither archive nor whole regions records"
want 2 dns-index tiers t.dns
want 10 dns-index tiers nowhere.dns --keep regions
want 2 dns-index tiers t.dns --keep fine_binary:100
says "cannot be kept as '100'"

# Frames that are alike are stored once, and all again while the archive is there.
want 3 dns-index import m.dns "$DATA/features.npz" --keep regions:f32,archive --merge 0.01
want 2 dns-index import m.dns "$DATA/features.npz" --merge 0.02
says "merges frames up to 0.01; change it with: dns-index tiers m.dns --merge 0.02"
want 3 dns-index import m.dns "$DATA/features.npz" --merge 0.01
want 2 dns-index tiers m.dns --merge 3
says "outside 0 to 2"
want 0 dns-index tiers m.dns --merge 2 --json
says '"changed": 2'
want 0 dns-index stat m.dns
says "frames up to 2 apart are stored once"
want 0 dns-index stat m.dns --json
says '"merge": 2'
want 0 dns-query m.dns vid_a --fine regions
want 0 dns-index verify m.dns
want 0 dns-index tiers m.dns --merge 0
says "2 changed"
want 0 dns-index tiers m.dns --keep regions:f32 --merge 2
want 12 dns-index tiers m.dns --merge 0
says "neither archive nor whole regions records"

# A limit on file sizes is a full disk; space given back, the import goes on.
want 28 bash -c "ulimit -f 40; dns-index import full.dns '$DATA/features.npz' --keep regions:f32"
want 3 dns-index import full.dns "$DATA/features.npz"
want 0 dns-index verify full.dns
want 0 dns-query full.dns vid_a

finish
