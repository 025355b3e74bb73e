# dns-train projection: keeps the best of the model's whitening, PCA and the trained map, and says which.
. "$(dirname "$0")/lib.sh" "$@"

want 0 dns-train whitening --videos "$CLIPS/frog.webm" --frames 4 --copies 1 --dim 16 -o m
train() {
    dns-train projection --videos "$CLIPS" --frames 1 --views 3 --steps 50 --batch 6 --dim 16 --wide 32 --folds 2 -o m "$@"
}
want 0 train --checkpoint ck
says "the model's whitening"
says "trained projection"
want 0 dns-model verify m
says "whitening: ok"
check "checkpoints" test -e ck.fold0-seed0 -a -e ck.fold1-seed0

want 2 dns-train projection -o m
want 2 train --dim 64
says "--wide"
want 2 train -o nowhere
finish
