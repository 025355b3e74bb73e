# From an index and a table of labels to classified videos; what was privileged in training is gone by then.
. "$(dirname "$0")/lib.sh" "$@"

mkdir videos
for clip in "$CLIPS"/*; do
    case $clip in *.mp4 | *.webm | *.mkv) cp "$clip" videos/ ;; esac
done
dns-index build v.dns videos --quiet >/dev/null 2>&1
dns-index list v.dns >names
first=$(find "$PWD/videos" -name frog.webm)
check "an index" test -s names

dns-index list v.dns --json 2>/dev/null | grep -o '"path": "[^"]*"' | cut -d'"' -f4 | sort >paths
n=$(wc -l <paths)
check "videos" test "$n" -ge 4
awk 'BEGIN { OFS = "\t"; print "video", "label" } NR < 5 { print $0, NR % 2 ? "odd" : "even" }' paths >labels.tsv
want 0 dns-train classifier-data --index v.dns --labels labels.tsv --out train.cpf
says "privileged, 2 labels"
want 0 dns-train classifier-data --index v.dns --labels labels.tsv --priv p1,p2,p4 --anchors 1 --out p2.cpf
says " 390 privileged, 2 labels"
want 0 dns-train classifier --data train.cpf --folds 2 --hidden 8 --out m.cpm --teacher t.cpm
says "class by cpfd"

# Only the classifier and the index are left.
rm -f train.cpf p2.cpf t.cpm labels.tsv
want 0 dns-query classify --model m.cpm --index v.dns --csv
says "video,label,probability,given"
check "two labels a video" test "$(grep -c frog.webm "$work/out")" = 2
check "fields are quoted where they must be" eval '! grep -q \" "$work/out"'
want 0 dns-query classify --model m.cpm --index v.dns "$first" --json
says '"schema": "dnsel.classify/1"'
if command -v strace >/dev/null; then
    strace -f -e trace=openat -o trace dns-query classify --model m.cpm --index v.dns >/dev/null
    check "no privileged file is opened" eval '! grep -E "\.cpf|t\.cpm" trace'
fi
want 0 dns-query classify --model m.cpm --index v.dns frog --csv
check "one video" test "$(wc -l <"$work/out")" = 3
want 2 dns-query classify --model m.cpm --video "$first" "$first"
says "files are given with --video"
want 0 dns-query classify --model m.cpm --video "$first"
says "frog.webm"
want 1 dns-query classify --model m.cpm --index v.dns --min-confidence 1
want 2 dns-query classify --model m.cpm
want 2 dns-query classify --model absent.cpm --index v.dns
want 10 dns-query classify --model m.cpm --index absent
want 2 dns-query classify --model m.cpm --index v.dns nothing-of-this-name
want 12 dns-query classify --model names --index v.dns

# Pairs: from videos and copies of them to a router.
cp videos/frog.webm videos/frog.copy.webm
ffmpeg -v error -y -i videos/birds.mp4 -vf hue=h=90 videos/birds.hue.mp4 </dev/null
mkdir videos/again
cp videos/tree.mp4 videos/again/
dns-index build both.dns videos --quiet >/dev/null 2>&1
printf 'query,original,scene_group,exclude\n%s\n%s\n' frog.copy.webm,frog.webm,g1,birds birds.hue,birds.mp4,, >truth.csv
want 0 dns-train classifier-data --task pair --index both.dns --labels truth.csv --pool 3 --out pairs.cpf
says "2 duplicates"
printf 'video,other,label\nfrog.copy.webm,frog.webm,1\nfrog.webm,birds.mp4,0\nbirds.hue,birds.mp4,duplicate\nfrog.webm,birds.hue,\n' >named.csv
want 0 dns-train classifier-data --task pair --index both.dns --labels named.csv --out named.cpf
says "4 pairs of 20 features, 7 privileged; 2 duplicates, 1 without label"
cp -r "$CLIPS/../../../models/default" model
digest=$(dns-model info model --json | grep -o '"digest": "[^"]*"' | head -1)
want 0 dns-train classifier --data pairs.cpf --folds 2 --hidden 4 --epochs 50 --out pair.cpm --install model
check "the model is the same" test "$digest" = "$(dns-model info model --json | grep -o '"digest": "[^"]*"' | head -1)"
want 0 dns-query both.dns videos/birds.mp4 --model model --router pair --rerank 2 --json
says '"router": "pair"'
says '"probability"'
want 2 dns-query both.dns videos/birds.mp4 --router pair
says "needs a classifier of pairs"
want 12 dns-query classify --model pair.cpm --index both.dns
says "classifies pairs, not videos"
want 2 dns-train classifier --data named.cpf --folds 4 --out no.cpf
printf 'video,label\nfrog.webm,cat\ntree,dog\n' >twice.csv
want 2 dns-train classifier-data --index both.dns --labels twice.csv --out no.cpf
says "row 2: several videos are called 'tree'"
printf 'video,other,label\nfrog.webm,frog.webm,1\n' >same.csv
want 2 dns-train classifier-data --task pair --index both.dns --labels same.csv --out no.cpf
says "no pair with itself"
printf 'query,original\nfrog.copy,toad.webm\n' >toad.csv
want 2 dns-train classifier-data --task pair --index both.dns --labels toad.csv --out no.cpf
says "row 1: no video 'toad.webm'"
want 12 dns-train classifier-data --task pair --index both.dns --labels names --out no.cpf

printf 'video\tlabel\nnothing-of-this-name\tcat\n' >unknown.tsv
want 2 dns-train classifier-data --index v.dns --labels unknown.tsv --out no.cpf
says "no video 'nothing-of-this-name'"
want 12 dns-train classifier-data --index v.dns --labels names --out no.cpf
want 10 dns-train classifier-data --index absent --labels unknown.tsv --out no.cpf
want 2 dns-train classifier-data --index v.dns --labels unknown.tsv --priv p9 --out no.cpf
check "nothing was written" test ! -e no.cpf
finish
