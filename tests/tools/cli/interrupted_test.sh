# Killed at random moments and run again, a build ends with the same logical index; Ctrl-C saves what is finished; a second
# writer is told who writes; a full disk is said, and freeing space lets the build go on.
. "$(dirname "$0")/lib.sh" "$@"
mkdir videos
cp "$CLIPS"/{birds,city,stream,friday,sign-milk}.* videos
digest() { dns-index stat "$1" --digest | sed -n 's/^contents *//p'; }
want 0 dns-index build whole.dns videos -j 1

for round in 1 2 3 4 5 6; do
    rm -rf killed.dns
    for attempt in 1 2 3 4 5 6 7 8; do
        dns-index build killed.dns videos -q &
        sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
        kill -9 $! 2>/dev/null
        wait $! 2>/dev/null && break
    done
    want 0 dns-index build killed.dns videos -q
    want 0 dns-index verify killed.dns
    check "the same index after kills (round $round)" test "$(digest whole.dns)" = "$(digest killed.dns)"
done
check "a digest at all" test -n "$(digest whole.dns)"

rm -rf stopped.dns
dns-index build stopped.dns videos -j 1 -q 2>/dev/null &
sleep 0.5
kill -INT $!
wait $!
code=$?
check "interrupted is 130 (or done before): $code" test $code = 130 -o $code = 0
want 0 dns-index build stopped.dns videos -q
check "the same index after Ctrl-C" test "$(digest whole.dns)" = "$(digest stopped.dns)"
finish
