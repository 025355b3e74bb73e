# dns-train whitening: a new model from clips, and again in place; a video that is none costs exit code 3.
. "$(dirname "$0")/lib.sh" "$@"

train() { dns-train whitening --videos "$CLIPS/frog.webm" --frames 4 --copies 1 --dim 16 "$@"; }

want 0 train -o m
says "whitening from 4 frames of 1 videos, 72 vectors"
want 0 dns-model verify m
says "whitening: ok"
want 0 dns-model info m --json
says '"ranges"'
says '"seed": 1'
says '"edited_copies_of_each": 1'

# Again, with another seed and a file that is no video: the model stays, the whitening changes, no old file is left.
cp m/whitening.safetensors before
echo "no video" >bad.mp4
want 3 train --seed 9 --videos bad.mp4 -o m
says "bad.mp4"
want 0 dns-model verify m
check "one weights file" test "$(find m -name '*.safetensors' | wc -l)" = 1
check "another whitening" eval '! cmp -s before m/whitening*.safetensors'

want 2 dns-train whitening --videos "$CLIPS/frog.webm"
want 2 dns-train whitening --out m
want 2 dns-train whitening --videos "$CLIPS/frog.webm" --frames 1 --copies 0 --dim 16 -o few
says "9 vectors"
want 12 train --backbone vgg16 -o other
says "known are"
finish
