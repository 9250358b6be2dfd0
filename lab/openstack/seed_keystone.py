"""The services with their users, and the project that builders are made in."""
import sys

import openstack

address = sys.argv[1]
cloud = openstack.connect(
    auth_url=f'http://{address}:5000/v3', username='admin', password='admin', project_name='admin',
    user_domain_id='default', project_domain_id='default', region_name='RegionOne', identity_api_version='3')
identity = cloud.identity
role = {role.name: role for role in identity.roles()}

service = identity.create_project(name='service', domain_id='default')
for name in ('glance', 'placement', 'nova', 'neutron'):
    user = identity.create_user(name=name, password='secret', domain_id='default', default_project_id=service.id)
    identity.assign_project_role_to_user(service, user, role['admin'])
for name, kind, url in (
        ('glance', 'image', f'http://{address}:9292'), ('placement', 'placement', f'http://{address}:8778'),
        ('nova', 'compute', f'http://{address}:8774/v2.1'), ('neutron', 'network', f'http://{address}:9696')):
    made = identity.create_service(name=name, type=kind)
    for interface in ('public', 'internal', 'admin'):
        identity.create_endpoint(service_id=made.id, interface=interface, region_id='RegionOne', url=url)

project = identity.create_project(name='builders', domain_id='default')
user = identity.create_user(name='builder', password='builder', domain_id='default', default_project_id=project.id)
identity.assign_project_role_to_user(project, user, role['member'])
