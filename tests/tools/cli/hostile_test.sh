# Files that are not what they seem: each costs one line and exit code 3, never the run.
. "$(dirname "$0")/lib.sh" "$@"
mkdir in
make() { ffmpeg -nostdin -v error -y "$@"; }
: >in/empty.mp4
echo "this is text" >in/text.mp4
head -c 20000 "$CLIPS/city.mp4" >in/cut-early.mp4
head -c 300000 "$CLIPS/flower.webm" >in/cut-late.webm
make -f lavfi -i 'sine=duration=1' -c:a aac in/audio.mp4
make -f lavfi -i 'testsrc=d=0.03:r=30' -frames:v 1 in/one-frame.mp4
make -f lavfi -i 'color=red:s=16x16:d=3:r=5' -vf format=gray,crop=1:1 -c:v ffv1 in/one-pixel.mkv
make -f lavfi -i 'testsrc2=s=64x64:d=2' -c:v mpeg4 in/$'new\nline.mp4'
cp in/one-frame.mp4 in/$'invalid-\xff\xfe.mp4'
cp "$CLIPS/birds.mp4" in/-dash.mp4
cp "$CLIPS/birds.mp4" in/concat:a.mp4
printf 'ffconcat version 1.0\nfile one-frame.mp4\n' >in/list.mp4
printf '#EXTM3U\n#EXTINF:1,\none-frame.mp4\n' >in/playlist.ts
mkfifo in/fifo.mp4
mkdir in/folder.mp4
ln -s . in/loop
make -f lavfi -i 'color=blue:s=32x32:d=0.04' -frames:v 1 cover.png
make -f lavfi -i 'sine=duration=1' -i cover.png -map 0 -map 1 -c:a aac -c:v png -disposition:v attached_pic in/cover.mp4
cp in/one-frame.mp4 in/unreadable.mp4
chmod 000 in/unreadable.mp4

want 3 timeout 120 dns-index build i.dns in
for name in empty.mp4 text.mp4 audio.mp4 list.mp4 playlist.ts cover.mp4; do says "in/$name"; done
[ "$(id -u)" = 0 ] || says unreadable
check "one line a bad file" test "$(grep -c '^dns-index: skipped' "$work/err")" = "$(wc -l <"$work/err")"
want 0 dns-index list i.dns --json
for name in one-frame.mp4 one-pixel.mkv 'new\nline.mp4' cut-late.webm; do says "$name"; done
says '-dash.mp4'
says 'concat:a.mp4'
check "nothing but what is in the folder" test "$(dns-index list i.dns -0 | tr -cd '\0' | wc -c)" -ge 7
want 0 dns-index verify i.dns

# Named directly, a fifo or a folder without videos neither hangs nor fails the run.
want 3 timeout 20 dns-index add i.dns in/fifo.mp4
says "not a regular file"
want 0 timeout 20 dns-index add i.dns in/folder.mp4
want 3 dns-index add i.dns nowhere.mp4
says "nowhere.mp4"

# As queries: one line each, and the good ones are answered all the same.
want 3 dns-query i.dns in/empty.mp4 in/-dash.mp4 --ndjson
says "empty.mp4"
says '"rank":1'
want 2 dns-query i.dns in/text.mp4
finish
