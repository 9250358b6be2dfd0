#!/bin/sh
# schema.sh ADDRESS: makes the tables of all services.
set -e
etc=/lab/etc
keystone() { keystone-manage --config-file $etc/keystone.conf "$@"; }
nova() { nova-manage --config-file $etc/nova.conf "$@"; }

# Neutron's chain of migrations is the longest: it runs beside the others.
neutron-db-manage --config-file $etc/neutron.conf --config-file $etc/ml2.ini upgrade heads &
neutron=$!

keystone db_sync
keystone fernet_setup --keystone-user root --keystone-group root
keystone credential_setup --keystone-user root --keystone-group root
url=http://$1:5000/v3/
keystone bootstrap --bootstrap-password admin --bootstrap-region-id RegionOne \
	--bootstrap-public-url "$url" --bootstrap-internal-url "$url" --bootstrap-admin-url "$url"
glance-manage --config-file $etc/glance.conf db_sync
placement-manage --config-file $etc/placement.conf db sync
nova api_db sync
cell0=$(sed -n 's/^connection = \(.*\)nova_cell1/\1nova_cell0/p' $etc/nova.conf)
nova cell_v2 map_cell0 --database_connection "$cell0"
nova cell_v2 create_cell --name cell1
nova db sync
wait $neutron
