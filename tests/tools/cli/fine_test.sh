# dns-train teacher, fine-attention, fine-binary: networks into a model, figures and choice into model.json; labelled
# pairs; a model that the data was not prepared with is refused.
. "$(dirname "$0")/lib.sh" "$@"

mkdir clips
for clip in elf.webm flower.webm frog.webm monster.webm pig.webm tree.mp4; do cp "$CLIPS/$clip" clips/; done
cp -r "$(dirname "$0")/../../../models/default" m
want 0 dns-train prepare --videos clips --model m --frames 2 --folds 2 --similarity 1 --out data
train() { dns-train "$1" --data data --model m --batch 2 --queries 1 --steps 3 "${@:2}"; }

want 0 train fine-attention --always --curve curve.jsonl
says "fold 1, seed 1"
says "kept: "
check "curves of folds" [ "$(wc -l <curve.jsonl.0.1)" = 3 ]
want 0 dns-model verify m
says "fine_attention: ok"
check "figures" grep -q '"untrained"' m/model.json
check "the rule" grep -q '"regions": "same"' m/model.json
want 0 train fine-binary --always --direction query
want 0 dns-model verify m
says "fine_binary: ok"
want 0 dns-index build index.dns clips --model m --quiet
want 0 dns-query index.dns clips/frog.webm --model m
says "frog.webm"

# As published: a teacher, then students of it; or of pairs with similarities.
want 12 train fine-attention --recipe published --always
says "no teacher network"
want 0 train teacher --recipe published --folds 1
want 0 train fine-attention --recipe published --always --folds 1
check "its rule" grep -q '"regions": "chamfer"' m/model.json
echo query,video,similarity,positive >pairs.csv # every later name is a positive of an earlier one
for a in elf flower frog monster pig tree; do
    for b in elf flower frog monster pig tree; do
        [ $a = $b ] || echo "$a,$b,0.$([ $a \< $b ] && echo 5 || echo 1),$([ $a \< $b ] && echo 1 || echo 0)"
    done
done >>pairs.csv
want 0 train fine-attention --recipe published --pairs pairs.csv --always --folds 1
echo "query,video" >other.csv
want 12 train fine-attention --recipe published --pairs other.csv
printf 'query,video,positive\nx,y,1\n' >other.csv
want 2 train fine-attention --recipe published --pairs other.csv

# Without edited copies there is nothing to validate on; pairs are enough to train.
want 0 dns-train prepare --videos clips --model m --frames 2 --folds 2 --similarity 1 --copies 0 --out bare
want 0 dns-train fine-attention --data bare --model m --recipe published --pairs pairs.csv --batch 2 --steps 2
says "no edited copies"
says "Gflop/s"

want 2 dns-train teacher --data data
want 12 dns-train teacher --data clips --model m
cp -r m changed
sed -i 's/"short_side": 256/"short_side": 257/' changed/model.json
want 12 dns-train teacher --data data --model changed
says "another backbone"
finish
