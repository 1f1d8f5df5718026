// MySQL for slurmdbd: without accounting nothing can be said of a job that left no exit record, nor of its usage.
param location string
param prefix string
param subnetId string
param networkId string
@secure()
param password string
param tags object

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: '${prefix}.private.mysql.database.azure.com'
  location: 'global'
  tags: tags

  resource link 'virtualNetworkLinks' = {
    name: 'network'
    location: 'global'
    properties: { registrationEnabled: false, virtualNetwork: { id: networkId } }
  }
}

resource server 'Microsoft.DBforMySQL/flexibleServers@2023-12-30' = {
  name: '${prefix}-${uniqueString(resourceGroup().id)}'
  location: location
  tags: tags
  sku: { name: 'Standard_B2ms', tier: 'Burstable' }
  dependsOn: [zone::link] // else the server's name cannot be resolved at first
  properties: {
    version: '8.0.21'
    administratorLogin: 'slurm'
    administratorLoginPassword: password
    storage: { storageSizeGB: 32, autoGrow: 'Enabled' }
    backup: { backupRetentionDays: 14, geoRedundantBackup: 'Disabled' }
    network: { delegatedSubnetResourceId: subnetId, privateDnsZoneResourceId: zone.id }
  }
}

output host string = server.properties.fullyQualifiedDomainName
