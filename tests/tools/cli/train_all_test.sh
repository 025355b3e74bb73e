# dns-train all: from a folder of clips to a model, gone on with after an interruption; the parts are said to be what they are.
. "$(dirname "$0")/lib.sh" "$@"

small=(--set backbone.frames=1 --set backbone.views=2 --set backbone.steps=2 --set backbone.dim=32
    --set prepare.frames=2 --folds 2
    --set fine-attention.steps=3 --set fine-attention.queries=2
    --set fine-binary.queries=2
    --set coarse.steps=3 --set coarse.queries=2
    --set selector.steps=3 --set selector.batch=8 --set selector.queries=2)
mkdir videos
for clip in birds bottles city friday motion pedestrians stream tree; do
    cp "$CLIPS"/$clip.* videos/
done
all() { dns-train all --videos videos --out m "${small[@]}" "$@"; }

# Killed in the middle, it goes on; what was finished is not done again.
timeout -s INT 6 dns-train all --videos videos --out m "${small[@]}" >first 2>&1
want 0 all
says "about"
says "intermediate files in m.work"
says "m is complete"
want 0 all
says "== prepare: done before"
says "== selector: done before"
want 0 dns-model verify m
for section in backbone whitening coarse selector router calibration; do says "$section: ok"; done
want 0 dns-model info m --json
says '"held_out_mAP"'
want 0 grep -q oracle-fine m.work/selector/routers.json

# Finished stages belong to their options.
want 12 all --seed 5
says "finished with other options"

# The model works, and promises of loss can be asked for.
want 0 dns-index build v.dns videos --model m --quiet
want 0 dns-query v.dns "$CLIPS/tree.mp4" --model m --router selector
want 0 dns-query v.dns "$CLIPS/tree.mp4" --model m --max-loss 0.9
want 2 dns-train all --out n

# The ablation of all of it; run again, nothing is measured twice.
small_ablation() {
    dns-eval ablation --data m.work/data --model m --out abl --seeds 1 --queries 2 --fine-steps 2 --coarse-steps 2 \
        --selector-steps 2 --published-steps 0 "$@"
}
want 0 small_ablation
says "mean vector"
says "fine attention trained"
says "coarse contrast"
says "oracle-fine"
lines=$(wc -l <abl/rows.jsonl)
want 0 small_ablation --json
says '"schema": "dnsel.ablation/1"'
check "nothing was measured again" test "$(wc -l <abl/rows.jsonl)" = "$lines"
check "figures" test -s abl/ablation.txt -a -s abl/ablation.json -a -s abl/routers.gnuplot
sed -i '$d' abl/rows.jsonl
want 0 small_ablation
check "what was lost is there again" test "$(wc -l <abl/rows.jsonl)" = "$lines"
want 12 small_ablation --fine-steps 3
want 2 dns-eval ablation --data m.work/data
want 2 dns-train coarse --model m
want 12 dns-train selector --data m.work/data --model "$(dirname "$BIN")/models/default"
finish
