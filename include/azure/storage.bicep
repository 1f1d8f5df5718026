// Where the run directories of jobs are copied to, and CycleCloud keeps its projects ("locker").
// A result that is overwritten or deleted can be had back for two weeks; old ones cool down, then go.
param location string
param prefix string
param subnetIds string[] // who may reach it: nodes, and CycleCloud for its projects
param retentionDays { cool: int, delete: int }
param tags object

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: '${toLower(replace(prefix, '-', ''))}${uniqueString(resourceGroup().id)}'
  location: location
  tags: tags
  sku: { name: 'Standard_ZRS' }
  kind: 'StorageV2'
  properties: {
    accessTier: 'Hot'
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'AzureServices'
      virtualNetworkRules: [for id in subnetIds: { id: id }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: { enabled: true, days: 14 }
    containerDeleteRetentionPolicy: { enabled: true, days: 14 }
  }
}

resource results 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'results'
}

resource locker 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'cyclecloud'
}

resource retention 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = {
  parent: account
  name: 'default'
  dependsOn: [blobs]
  properties: {
    policy: {
      rules: [
        {
          name: 'results'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['results/'] }
            actions: {
              baseBlob: {
                tierToCool: { daysAfterModificationGreaterThan: retentionDays.cool }
                delete: { daysAfterModificationGreaterThan: retentionDays.delete }
              }
              version: { delete: { daysAfterCreationGreaterThan: 14 } }
            }
          }
        }
      ]
    }
  }
}

output accountName string = account.name
output resultsUrl string = '${account.properties.primaryEndpoints.blob}${results.name}'
