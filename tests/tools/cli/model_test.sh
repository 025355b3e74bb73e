# dns-model: what is imported comes out again unchanged, what does not fit is 12, what is damaged is 13, each in one line.
NEEDS_BACKBONE=no
. "$(dirname "$0")/lib.sh" "$@"
DATA=$CLIPS/..
one_line() { check "one line: $err" test "$(wc -l <"$work/err")" = 1; }
export DNS_BACKBONES=$work/backbones

# Networks go into a model, and come out with the same bytes.
want 0 dns-model import "$DATA/golden/chunks.weights.safetensors" --into m
says "fine_attention: 11 tensors, 93089 values"
want 0 dns-model import "$DATA/import/coarse.pth" --into m --heads 2
want 0 dns-model verify m
says "coarse: ok"
want 0 dns-model info m --json
says '"heads": 2'
says '"global_step": 7'
want 0 dns-model info m
says "netvlad.centroids"
for ending in safetensors npz; do
    want 0 dns-model export m fine_attention --out "out.$ending"
    want 0 dns-model info "out.$ending"
    says "fine_attention network"
    want 0 dns-model import "out.$ending" --into "from-$ending"
    check "the same weights" cmp m/fine_attention.safetensors "from-$ending/fine_attention.safetensors"
done
want 0 dns-model import "$DATA/import/torch.zip.pth" --out plain.safetensors
want 0 dns-model import "$DATA/import/torch.legacy.pth" --out plain.npz
want 0 dns-model import plain.npz --out again.safetensors
want 0 dns-model info --json again.safetensors
says '"name": "block.weight"'

# Teacher, whitening, ITQ.
want 0 dns-model import "$DATA/golden/teacher_clip.weights.safetensors" --into t --as teacher_symmetric
want 0 dns-model info t --json
says '"direction": "symmetric"'
want 0 dns-model import "$DATA/import/pca.pth" --into t --dims 8
want 0 dns-model import "$DATA/import/itq.npz" --into t
want 0 dns-model info t
says "[24,8]"
says "proj"
says 'similarity: {"direction":"symmetric"'
want 0 dns-model verify t
check "no drafts left" test -z "$(find t -name '.*import*')"
want 0 dns-model import "$DATA/golden/chunks.weights.safetensors" "$DATA/import/coarse.pth" --into t
says "the model keeps its own"
says "coarse: 22 tensors"
want 12 dns-model import "$DATA/import/pca.pth" --into t --dims 25
one_line

# A whitening whose vectors the student does not take.
want 0 dns-model import "$DATA/import/pca.pth" --into m --dims 16
want 12 dns-model verify m
says "coarse: takes vectors of 8 values, but the whitening gives 16"
want 12 dns-model verify m --json
says '"passed": false'

# A section whose tensors are those of another network, and one without weights.
cp -r t wrong
sed -i 's/"itq"/"selector"/' wrong/model.json
want 12 dns-model verify wrong
says "selector: its tensors are not those of a selector network"
sed -i 's/"selector"/"itq"/; s/"file": "whitening.safetensors"/"other": 1/' wrong/model.json
want 12 dns-model verify wrong
says "whitening: no weights"

# What does not fit.
want 12 dns-model import "$DATA/golden/chunks.weights.safetensors" --into m --as coarse
one_line
want 12 dns-model import "$DATA/import/coarse.pth" --into m --heads 3
want 12 dns-model import "$DATA/import/arrays.npz" --into m
says "no tensor 'd'"
want 12 dns-model import "$DATA/import/torch.zip.pth" --into m
for name in runs.pth module.pth complex.pth script.pt loop.pickle object.npy text.npy; do
    want 12 dns-model import "$DATA/import/refused.$name" --out x.npz
    one_line
done
want 12 dns-model info "$CLIPS/birds.mp4"
{ printf '\x80\x02'; printf ']%.0s' {1..100}; printf 'a%.0s' {1..99}; printf .; } >deep.pickle
want 12 dns-model info deep.pickle
says "nested deeper"
one_line
want 12 dns-model export m nothing --out x.npz
want 2 dns-model export m coarse --out x.txt
want 2 dns-model export m coarse
want 2 dns-model import nowhere.pth --out x.npz
want 2 dns-model import "$DATA/import/coarse.pth"
want 2 dns-model import "$DATA/import/coarse.pth" --out x.npz --into m
want 2 dns-model import "$DATA/import/coarse.pth" "$DATA/import/pca.pth" --out x.npz
want 2 dns-model verify nowhere
check "nothing written by refused imports" test ! -e x.npz

# What is damaged.
for file in torch.zip.pth torch.legacy.pth arrays.npz array.npy features.npz torch.expected.safetensors; do
    size=$(stat -c %s "$DATA/import/$file")
    head -c $((size - 5)) "$DATA/import/$file" >cut
    want 13 dns-model info cut
    one_line
done
head -c 100000000 /dev/zero | gzip -9 | head -c 100000 >zeros.gz
want 12 dns-model info zeros.gz
cp -r t damaged
printf X | dd of=damaged/teacher_symmetric.safetensors bs=1 seek=5000 conv=notrunc status=none
want 13 dns-model verify damaged
one_line
rm damaged/teacher_symmetric.safetensors
want 13 dns-model verify damaged
one_line
sed -i 's:dnsel.model/1:dnsel.model/9:' damaged/model.json
want 12 dns-model verify damaged

# Features and annotations are described too.
want 0 dns-model info "$DATA/import/annotation.4.pickle" --json
says '"q2"'
dns-model info "$DATA/import/features.hdf5" >/dev/null 2>&1 && {
    want 0 dns-model info "$DATA/import/features.hdf5"
    says "1/1_1_Y"
    want 0 dns-model info "$DATA/import/refused.hdf5" --json
    says '"error": "'
    head -c 10000 "$DATA/import/features.hdf5" >cut
    want 13 dns-model info cut
    one_line
}

# The installed backbone: its weights go beside the models, once.
if [ -e "$backbone" ]; then
    want 0 dns-model import "$backbone" --into b
    says "installed as $DNS_BACKBONES/efficientnet-lite0.safetensors"
    want 0 dns-model import "$backbone" --into b
    check "installed once: $err" test -z "$err"
    want 0 dns-model verify b
    size=$(stat -c %s "$DNS_BACKBONES/efficientnet-lite0.safetensors")
    printf 'XXXX' | dd of="$DNS_BACKBONES/efficientnet-lite0.safetensors" bs=1 seek=$((size / 2)) conv=notrunc status=none
    want 12 dns-model verify b
    want 2 dns-model import "$backbone" --into b
    says "remove them first"
fi
finish
