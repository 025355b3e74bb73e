# dns-train ranges: a model without ranges refuses int8 and says what to do; with them it computes, and nothing else changed.
. "$(dirname "$0")/lib.sh" "$@"

want 0 dns-train whitening --videos "$CLIPS/frog.webm" --frames 4 --copies 0 --dim 16 --no-calibrate -o m
cp m/whitening.safetensors before
if grep -q avx512_vnni /proc/cpuinfo; then
    want 12 dns-index build --model m --int8 films.dns "$CLIPS/frog.webm"
    says "dns-train ranges"
fi

want 0 dns-train ranges --videos "$CLIPS/frog.webm" --out m
says "ranges from"
want 0 dns-model verify m
says "whitening: ok"
want 0 dns-model info m --json
says '"ranges"'
check "the same whitening" cmp -s before m/whitening*.safetensors
want 0 dns-index build --model m --int8 films.dns "$CLIPS/frog.webm"

# The same seed, the same ranges.
cp m/model.json before.json
want 0 dns-train ranges --videos "$CLIPS/frog.webm" --out m
check "the same ranges" cmp -s before.json m/model.json

want 2 dns-train ranges --videos "$CLIPS/frog.webm"
want 2 dns-train ranges --out m
want 2 dns-train ranges --videos "$CLIPS/frog.webm" --out nothing-here
finish
