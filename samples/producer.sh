#!/usr/bin/env bash
# Puts jobs for tanda on RabbitMQ with Debian's amqp-publish (package amqp-tools).
#
#   samples/producer.sh samples/jobs/topup.json samples/jobs/withdrawal.json
#
# For trying things out: amqp-publish asks for no confirm and cannot publish as mandatory, so it may
# end well where no queue has the job. In earnest, do as producer.py does.
# The broker is TANDA_AMQP__URL, which shows in the list of processes here.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: $0 FILE.json…" >&2
  exit 2
fi

# Each is one call, so the next job of a card cannot overtake the one before.
for file in "$@"; do
  amqp-publish --url="${TANDA_AMQP__URL:-amqp://guest:guest@127.0.0.1:5672/%2F}" \
    --exchange=tanda.jobs --routing-key=job --persistent --content-type=application/json <"$file"
  echo "sent $file" # not: confirmed
done
