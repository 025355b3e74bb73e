#!/usr/bin/env bash
# eval/benchmark on real clips and copies of some: JSON of every command, and a report with every plot in it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v gnuplot ffmpeg >/dev/null || { echo "skipped: no gnuplot or no ffmpeg"; exit 77; }
benchmark=$CLIPS/../../../eval/benchmark
export DNS_BIN=$BIN

mkdir clips copies
cp "$CLIPS"/{flower,pig}.webm clips
echo query,original,edit >copies/truth.csv
for clip in flower pig; do
    ffmpeg -nostdin -v error -i "clips/$clip.webm" -t 5 -vf hflip,scale=160:-2 -an -pix_fmt yuv420p "copies/$clip.mp4"
    echo "$clip.mp4,$clip.webm,flip" >>copies/truth.csv
done
want 0 "$benchmark" --quick --queries copies --truth copies/truth.csv --out bench clips
for file in retrieval.json speed.json scale.json report.html; do check "$file is there" test -s "bench/$file"; done
check "the report holds six plots" test "$(grep -c "<svg" bench/report.html)" = 6
check "tiers were judged alone" test "$(wc -l <bench/plots/tiers.tsv)" = 5
check "the report says what was measured" grep -q '2 queries against 2 videos' bench/report.html
check "the plot has both budgets" test "$(cut -f2 bench/plots/router-coarse.tsv | sort -u | wc -l)" -gt 2
check "growth was drawn from all sizes" test "$(wc -l <bench/plots/growth.tsv)" = 2

rm bench/report.html
want 0 "$benchmark" --plots --out bench
check "plots can be drawn again" test -s bench/report.html
want 2 "$benchmark"
says usage
want 2 "$benchmark" --colour clips
want 2 "$benchmark" --quick nothing-here
says "no such folder"
finish
