"""What a builder needs: flavors, an image, a network, an external one and a router between them."""
import os
import sys
import time

import openstack

address = sys.argv[1]
cloud = openstack.connect(
    auth_url=f'http://{address}:5000/v3', username='admin', password='admin', project_name='admin',
    user_domain_id='default', project_domain_id='default', region_name='RegionOne', identity_api_version='3')
project = cloud.identity.find_project('builders')

for name, ram, cpus, disk in (
        ('b.small', 1024, 1, 4), ('b.medium', 4096, 4, 20), ('b.enormous', 900_000_000, 4, 20)):
    cloud.compute.create_flavor(name=name, ram=ram, vcpus=cpus, disk=disk)

# The hypervisor is fake, and never looks into it.
for name, visibility in (('rocky-9', 'public'), ('rocky-8', 'public')):
    cloud.image.create_image(
        name=name, data=os.urandom(1 << 20), container_format='bare', disk_format='raw', visibility=visibility,
        min_disk=2, min_ram=512)

network = cloud.network
outside = network.create_network(
    name='ext-net', is_router_external=True, provider_network_type='flat', provider_physical_network='physnet1')
network.create_subnet(
    network_id=outside.id, ip_version=4, cidr='10.78.0.0/24', gateway_ip='10.78.0.1', is_dhcp_enabled=False,
    name='ext-subnet')
inside = network.create_network(name='build-net', project_id=project.id)
subnet = network.create_subnet(
    network_id=inside.id, project_id=project.id, ip_version=4, cidr='10.77.0.0/24', name='build-subnet')
router = network.create_router(
    name='build-router', project_id=project.id, external_gateway_info={'network_id': outside.id})
network.add_interface_to_router(router, subnet_id=subnet.id)

for _ in range(600):
    if list(cloud.compute.hypervisors()):
        break
    time.sleep(.2)
else:
    sys.exit('no hypervisor came up')
