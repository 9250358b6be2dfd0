#!/bin/sh
# rabbit.sh ADDRESS EPMD-PORT NODE-PORT: RabbitMQ on one address, empty. (To recover what a killed one left costs 20 s.)
set -e
export HOME=/lab/data/rabbit RABBITMQ_MNESIA_BASE=/lab/data/rabbit RABBITMQ_LOG_BASE=/lab/data/rabbit-log
rm -rf "$HOME"
install -d -o rabbitmq -g rabbitmq "$RABBITMQ_MNESIA_BASE" "$RABBITMQ_LOG_BASE"
interface=$(echo "$1" | tr . ,)
export RABBITMQ_NODENAME=lab@localhost RABBITMQ_CONFIG_FILE=/lab/etc/rabbit RABBITMQ_CONF_ENV_FILE=/dev/null
export RABBITMQ_ENABLED_PLUGINS_FILE=/lab/etc/rabbit-plugins RABBITMQ_DIST_PORT=$3
export ERL_EPMD_ADDRESS="$1" ERL_EPMD_PORT="$2"
export RABBITMQ_SERVER_ERL_ARGS="-kernel inet_dist_use_interface {$interface}"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 2:2 +sbwt none'
exec setpriv --reuid rabbitmq --regid rabbitmq --init-groups /usr/lib/rabbitmq/bin/rabbitmq-server
