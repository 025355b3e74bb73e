# dns-train classifier and dns-eval classifier on tables: what is learnt, what is refused and with which exit code.
NEEDS_BACKBONE=no
. "$(dirname "$0")/lib.sh" "$@"

# Two regular features that tell little, one privileged one that tells all of two thirds of the rows.
table() {
    awk -v n="$1" -v seed="$2" 'BEGIN { srand(seed); print "id,x0,x1,p1_0,label"
        for (i = 0; i < n; i++) { y = rand() < 0.5
            printf "v%d,%.4f,%.4f,%s,%s\n", i, rand() + 0.4 * y, rand(), rand() < 0.66 ? y + 0.1 * rand() : "",
                i % 3 == 2 && seed == 1 ? "" : y ? "cat" : "dog" } }'
}
table 300 1 >train.csv
table 200 2 >test.csv

want 0 dns-train classifier --data train.csv --validation test.csv --hidden 16 --seeds 2 --out m.cpm --report r.json \
    --teacher t.cpm
says "class by cpfd from 300 rows of 2 features"
says "self "
says "gap closed"
check "report" grep -q '"validation"' r.json
check "teacher" test -s t.cpm
want 0 dns-train classifier --data train.csv --hidden 16 --out again.cpm --jobs 3
check "the same whatever is compared and however many threads" cmp m.cpm again.cpm
want 0 dns-train classifier --data train.csv --hidden 16 --method base --out base.cpm
want 0 dns-eval classifier --model m.cpm --data test.csv --compare base.cpm
says "base.cpm: 200 rows, macro F1"
says "calibration error 0."
want 0 dns-eval classifier --model m.cpm --data test.csv --json
says '"schema": "dnsel.classifier/1"'

want 0 dns-train classifier --data train.csv --hidden 8 --cross-validate 3 --seeds 2 --folds 3 --out cross.cpm --progress plain
says "on 200 rows held out in turn, 2 seeds"
says "6 of 6 trials"
want 2 dns-train classifier --data train.csv --cross-validate 3 --validation test.csv --out no.cpm
want 2 dns-train classifier --data train.csv --cross-validate 201 --folds 2 --out no.cpm
says "201 folds of 200 labelled rows"

sed 's/,cat$/,1/; s/,dog$/,0/' train.csv >pairs.csv
sed 's/,cat$/,cat|pet/; s/,dog$/,pet|dog/' train.csv >tags.csv
want 0 dns-train classifier --data pairs.csv --task pair --hidden 8 --out pair.cpm
want 0 dns-eval classifier --model pair.cpm --data pairs.csv
says "average precision of duplicates"
want 0 dns-train classifier --data tags.csv --task tags --hidden 8 --validation tags.csv --out tags.cpm
want 0 dns-eval classifier --model tags.cpm --data tags.csv
says "pet"

# Nothing to learn from.
want 2 dns-train classifier --data train.csv
want 2 dns-train classifier --data absent.csv --out no.cpm
sed '2,$s/[a-z]*$//' train.csv >unlabelled.csv
want 2 dns-train classifier --data unlabelled.csv --out no.cpm
says "nothing to tell apart"
grep -v 'dog$' train.csv >one.csv
want 2 dns-train classifier --data one.csv --out no.cpm
says "nothing to tell apart"
sed '5s/v3,[^,]*/v3,nan/' train.csv >nan.csv
want 12 dns-train classifier --data nan.csv --out no.cpm
says "row 4: x0 is 'nan', no finite number"
want 12 dns-eval classifier --model train.csv --data test.csv
sed 's/cat/horse/' test.csv >horse.csv
want 12 dns-eval classifier --model m.cpm --data horse.csv
says "unknown label 'horse'"
echo "a,b" >empty.csv
want 12 dns-train classifier --data empty.csv --out no.cpm
says "no column x0"
cut -d, -f1-3,5 train.csv >plain.csv
want 2 dns-train classifier --data plain.csv --out no.cpm
says "no privileged features"
want 0 dns-train classifier --data plain.csv --method self --hidden 8 --out self.cpm
want 2 dns-train classifier --data train.csv --confidence gate:2 --out no.cpm
want 2 dns-train classifier --data plain.csv --method self --hidden 8 --teacher no.cpm --out no.cpm

# Files of rows and classifiers that are damaged, of another version, or something else.
for size in 4 100 600 -1; do
    head -c $size m.cpm >cut.cpm
    dns-eval classifier --model cut.cpm --data test.csv >/dev/null 2>said
    code=$?
    check "cut to $size bytes: $code" test $code = 13 -o $size = 4 -a $code = 12
    check "one line" test "$(wc -l <said)" = 1
done
cp m.cpm nan.cpm
printf '\377\377\377\377' | dd of=nan.cpm bs=1 seek=$(($(stat -c %s m.cpm) - 40)) conv=notrunc 2>/dev/null
want 13 dns-eval classifier --model nan.cpm --data test.csv
says "not finite"
sed 's/"version":"1"/"version":"2"/' m.cpm >newer.cpm
want 12 dns-eval classifier --model newer.cpm --data test.csv
says "version 2 of classifiers, 1 is known"
sed 's/hidden.weight/hidden.height/' m.cpm >renamed.cpm
want 12 dns-eval classifier --model renamed.cpm --data test.csv
want 12 dns-train classifier --data m.cpm --out no.cpm
says "no rows to learn from"

# Ctrl-C: nothing is written.
dns-train classifier --data train.csv --hidden 256 --epochs 1000000 --teacher no.cpm --report no.cpm --out no.cpm -q &
sleep 2
kill -INT $!
wait $!
code=$?
check "interrupted is 130: $code" test $code = 130
dns-train classifier --data train.csv --hidden 16 --cross-validate 100 --seeds 1000 --out no.cpm -q &
sleep 2
kill -INT $!
wait $!
code=$?
check "interrupted comparison is 130: $code" test $code = 130
check "nothing was written" test ! -e no.cpm
finish
