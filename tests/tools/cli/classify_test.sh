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
want 0 dns-query classify --model m.cpm --video "$first"
says "frog.webm"
want 1 dns-query classify --model m.cpm --index v.dns --min-confidence 1
want 2 dns-query classify --model m.cpm
want 2 dns-query classify --model absent.cpm --index v.dns
want 10 dns-query classify --model m.cpm --index absent
want 2 dns-query classify --model m.cpm --index v.dns nothing-of-this-name
want 12 dns-query classify --model names --index v.dns

printf 'video\tlabel\nnothing-of-this-name\tcat\n' >unknown.tsv
want 2 dns-train classifier-data --index v.dns --labels unknown.tsv --out no.cpf
says "no video 'nothing-of-this-name'"
want 12 dns-train classifier-data --index v.dns --labels names --out no.cpf
want 10 dns-train classifier-data --index absent --labels unknown.tsv --out no.cpf
want 2 dns-train classifier-data --index v.dns --labels unknown.tsv --priv p9 --out no.cpf
check "nothing was written" test ! -e no.cpf
finish
