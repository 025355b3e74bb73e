# dns-train prepare: a set from clips and a picture; killed in the middle it goes on, with the same features; other
# options are refused; feature files instead of videos.
. "$(dirname "$0")/lib.sh" "$@"

mkdir clips photos
cp "$CLIPS/elf.webm" "$CLIPS/frog.webm" clips/
ffmpeg -v error -y -i "$CLIPS/frog.webm" -vf hflip -frames:v 1 photos/still.png || exit 1
prepare() { dns-train prepare --videos clips --photos photos --model "$MODEL" --frames 1 --folds 2 "$@"; }
MODEL=$(dirname "$0")/../../../models/default

want 0 prepare --out whole --similarity 1 --jobs 1
says "3 videos (3 pictures, 0 hosts) of 3 scenes in 2 folds, 45 views"
says "45 views made now"
want 0 dns-index verify whole/features
want 0 prepare --out whole --similarity 1
says " 0 views made now"
want 12 prepare --out whole --seed 2
says "other options"

# Interrupted once some copies are there.
dns-train prepare --videos clips --photos photos --model "$MODEL" --frames 1 --folds 2 --out parts --similarity 1 \
    >/dev/null 2>&1 &
pid=$!
for _ in $(seq 200); do [ -s parts/features/data.mdb ] && break; sleep 0.05; done
sleep 0.3
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
want 0 prepare --out parts --similarity 1 --jobs 2
check "the same manifest" cmp whole/manifest.json parts/manifest.json
digest() { dns-index stat "$1/features" --digest | grep contents; }
check "the same features" [ "$(digest whole)" = "$(digest parts)" ]

printf 'file,scene_group\n%s,a\n%s,a\n' $(ls clips | head -2) >scenes.csv
want 0 prepare --out grouped --copies 0 --scenes scenes.csv --similarity 1
says "of 2 scenes"
echo "none" >clips/bad.mp4
want 3 prepare --out other --copies 0
says "bad.mp4"
# Feature files instead: one of the three videos has another number of regions.
for _ in first again; do
    want 3 dns-train prepare --features "$CLIPS/../import/features.npz" --folds 1 --out imported
    says "2 videos (0 pictures, 0 hosts) of 2 scenes in 1 folds, 2 views of 10 frames"
done
want 12 dns-train prepare --features "$CLIPS/../import/array.npy" --folds 1 --out imported
want 2 dns-train prepare --videos clips
want 2 dns-train prepare --videos clips --features x.h5 --out both
want 2 prepare --out many --copies 0 --folds 64
says "64 folds from"
finish
