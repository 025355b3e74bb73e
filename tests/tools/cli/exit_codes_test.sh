# The documented exit codes, one after the other.
. "$(dirname "$0")/lib.sh" "$@"
want 2 dns-index
want 0 dns-index --help
want 0 dns-index --version
want 2 dns-index build
want 2 dns-index build i.dns x --sampeling exact
says "did you mean --sampling"
want 10 dns-index list nowhere.dns
says "dns-index build nowhere.dns"
want 10 dns-index add nowhere.dns "$CLIPS/birds.mp4"
want 10 dns-query nowhere.dns "$CLIPS/birds.mp4"
want 10 dns-index verify nowhere.dns

mkdir videos
cp "$CLIPS/birds.mp4" "$CLIPS/city.mp4" videos
want 0 dns-index build i.dns videos
says "2 added"
want 0 dns-index build i.dns videos
says "2 unchanged"
want 0 dns-index stat i.dns
want 0 dns-index stat i.dns --json

# A query: by file, by path in the index, by id; nothing found is 1.
want 0 dns-query i.dns videos/birds.mp4 --ndjson
says '"schema":"dnsel.query/1","query":"videos/birds.mp4","results":[{"rank":1'
id=$(dns-index list i.dns | awk '/birds/ { print $1 }')
want 0 dns-query i.dns "$id" -k 1
want 0 sh -c 'echo videos/city.mp4 | dns-query i.dns - --csv'
want 1 dns-query i.dns videos/birds.mp4 --min-score 2

# Changed, touched and vanished files.
touch -d '2001-01-01' videos/birds.mp4
want 0 dns-index build i.dns videos
says "2 unchanged"
cp "$CLIPS/tree.mp4" videos/city.mp4
want 0 dns-index build i.dns videos
says "1 updated"
rm videos/city.mp4
want 0 dns-index build i.dns videos
says "0 removed"
want 0 dns-index build i.dns videos --prune --dry-run
says "1 removed"
want 0 dns-index build i.dns videos --prune
says "1 removed"
want 0 dns-index remove i.dns videos/birds.mp4
want 1 dns-index remove i.dns videos/birds.mp4
want 1 dns-index list i.dns

# A second writer is told who writes. The first waits for names: it has the index open by then.
cp "$CLIPS/city.mp4" videos
want 0 dns-index build i.dns videos
mkfifo names
dns-index add i.dns --files-from names -q &
first=$!
exec 9>names
want 11 dns-index add i.dns videos
says "$first"
exec 9>&-
check "the first writer ends well" wait $first

# Another model, a newer version, damage.
want 0 dns-index build i.dns videos
sed -i 's/"version": 1/"version": 99/' i.dns/index.json
want 12 dns-index list i.dns
sed -i 's/"version": 99/"version": 1/; s/"digest": "[0-9a-f]/"digest": "x/' i.dns/index.json
want 13 dns-index list i.dns
rm -r i.dns
want 0 dns-index build i.dns videos
cp -r i.dns bad.dns
size=$(stat -c %s bad.dns/data.mdb)
head -c $((size / 2)) i.dns/data.mdb >bad.dns/data.mdb
want 13 dns-index verify bad.dns

finish
