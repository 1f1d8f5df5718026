// The Azure side of a hybrid site: a resource group with network, storage, database and CycleCloud server.
// docs/azure.md says how to deploy it, in which order, and what it leaves to you.
targetScope = 'subscription'

@description('Where all of it is. The VM sizes of clusters.yaml must be offered there.')
param location string = 'westeurope'

@description('The beginning of every name.')
@minLength(3)
@maxLength(11)
param prefix string = 'hybridhpc'

@description('The network from which CycleCloud and the head node are reached: that of the site, behind a VPN or ExpressRoute.')
param siteNetwork string

@description('The public SSH key of the administrator of the CycleCloud server.')
param adminPublicKey string

@secure()
@description('The password of the accounting database.')
@minLength(16)
param databasePassword string

@description('Who pays. On every resource, so that Cost Management can group by it.')
param costCentre string

@description('After how many days the results of jobs are moved to cool storage, and after how many they are deleted.')
param retentionDays { cool: int, delete: int } = { cool: 30, delete: 365 }

var tags = {
  'cost-centre': costCentre
  application: 'hybrid-hpc'
  environment: 'production'
}

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${prefix}-rg'
  location: location
  tags: tags
}

module network 'network.bicep' = {
  name: 'network'
  scope: group
  params: {
    location: location
    prefix: prefix
    siteNetwork: siteNetwork
    tags: tags
  }
}

module storage 'storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    prefix: prefix
    subnetIds: [network.outputs.clusterSubnetId, network.outputs.serverSubnetId]
    retentionDays: retentionDays
    tags: tags
  }
}

module accounting 'accounting.bicep' = {
  name: 'accounting'
  scope: group
  params: {
    location: location
    prefix: prefix
    subnetId: network.outputs.databaseSubnetId
    networkId: network.outputs.networkId
    password: databasePassword
    tags: tags
  }
}

module cyclecloud 'cyclecloud.bicep' = {
  name: 'cyclecloud'
  scope: group
  params: {
    location: location
    prefix: prefix
    subnetId: network.outputs.serverSubnetId
    adminPublicKey: adminPublicKey
    storageAccountName: storage.outputs.accountName
    tags: tags
  }
}

output cyclecloudAddress string = cyclecloud.outputs.address
output clusterSubnet string = '${group.name}/${network.outputs.networkName}/cluster'
output databaseHost string = accounting.outputs.host
output nodeIdentity string = cyclecloud.outputs.nodeIdentityId
output results string = storage.outputs.resultsUrl
