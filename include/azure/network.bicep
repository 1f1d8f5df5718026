// A network of three subnets. Nothing in it has a public address; what goes out goes through one NAT gateway.
param location string
param prefix string
param siteNetwork string
param tags object

var space = '10.20.0.0/16'

resource rules 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${prefix}-nsg'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'site-ssh-https'
        properties: {
          description: 'The head node by SSH, CycleCloud by HTTPS: from the site alone.'
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: siteNetwork
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRanges: ['22', '443']
        }
      }
      {
        name: 'inside'
        properties: {
          description: 'Nodes, head node and CycleCloud among each other. The site is part of VirtualNetwork once it is connected, so the source is this network alone.'
          priority: 110
          direction: 'Inbound'
          access: 'Allow'
          protocol: '*'
          sourceAddressPrefix: space
          sourcePortRange: '*'
          destinationAddressPrefix: space
          destinationPortRange: '*'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4000
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource way_out 'Microsoft.Network/publicIPAddresses@2024-05-01' = {
  name: '${prefix}-nat-ip'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIPAllocationMethod: 'Static' }
}

resource nat 'Microsoft.Network/natGateways@2024-05-01' = {
  name: '${prefix}-nat'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: { publicIpAddresses: [{ id: way_out.id }] }
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: '${prefix}-vnet'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [space] }
    subnets: [
      {
        name: 'server'
        properties: {
          addressPrefix: '10.20.0.0/28'
          networkSecurityGroup: { id: rules.id }
          natGateway: { id: nat.id }
          serviceEndpoints: [{ service: 'Microsoft.Storage' }]
        }
      }
      {
        name: 'database'
        properties: {
          addressPrefix: '10.20.0.16/28'
          delegations: [
            { name: 'mysql', properties: { serviceName: 'Microsoft.DBforMySQL/flexibleServers' } }
          ]
        }
      }
      {
        name: 'cluster' // one address for each node that there may be, and the head node
        properties: {
          addressPrefix: '10.20.16.0/20'
          networkSecurityGroup: { id: rules.id }
          natGateway: { id: nat.id }
          serviceEndpoints: [{ service: 'Microsoft.Storage' }]
        }
      }
    ]
  }

  resource serverSubnet 'subnets' existing = { name: 'server' }
  resource databaseSubnet 'subnets' existing = { name: 'database' }
  resource clusterSubnet 'subnets' existing = { name: 'cluster' }
}

output networkName string = network.name
output networkId string = network.id
output serverSubnetId string = network::serverSubnet.id
output databaseSubnetId string = network::databaseSubnet.id
output clusterSubnetId string = network::clusterSubnet.id
