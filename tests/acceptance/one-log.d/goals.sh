# A message every now and then, until the match is over; they are seen here as well.
until [ -e full-time ]; do
  i=$((i + 1))
  echo "{\"goal\":$i}"
  sleep 0.7
done | tee /dev/tty
