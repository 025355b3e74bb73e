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

want 0 dns-train classifier --data train.csv --validation test.csv --hidden 16 --out m.cpm --report r.json --teacher t.cpm
says "class by cpfd from 300 rows of 2 features"
says "self macro F1"
check "report" grep -q '"validation_macro_f1"' r.json
check "teacher" test -s t.cpm
want 0 dns-train classifier --data train.csv --hidden 16 --out again.cpm --jobs 3
check "the same whatever is compared and however many threads" cmp m.cpm again.cpm
want 0 dns-train classifier --data train.csv --hidden 16 --method base --out base.cpm
want 0 dns-eval classifier --model m.cpm --data test.csv --compare base.cpm
says "base.cpm: 200 rows, macro F1"
want 0 dns-eval classifier --model m.cpm --data test.csv --json
says '"schema": "dnsel.classifier/1"'

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
check "nothing was written" test ! -e no.cpm
finish
