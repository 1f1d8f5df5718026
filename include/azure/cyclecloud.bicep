// The CycleCloud server, and two identities: one that makes and ends VMs, one that nodes have to copy results.
param location string
param prefix string
param subnetId string
param adminPublicKey string
param storageAccountName string
param tags object

// Microsoft's own: Contributor, Storage Blob Data Contributor.
var contributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b24988ac-6180-42a0-ab88-20f7382dd24c')
var blobContributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
var image = { publisher: 'azurecyclecloud', product: 'azure-cyclecloud', name: 'cyclecloud8-gen2' }

resource orchestrator 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${prefix}-cyclecloud'
  location: location
  tags: tags
}

resource nodes 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${prefix}-nodes'
  location: location
  tags: tags
}

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageAccountName
}

resource makesVms 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, orchestrator.id, contributor)
  properties: {
    roleDefinitionId: contributor
    principalId: orchestrator.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource keepsProjects 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, orchestrator.id, blobContributor)
  properties: {
    roleDefinitionId: blobContributor
    principalId: orchestrator.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource copiesResults 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, nodes.id, blobContributor)
  properties: {
    roleDefinitionId: blobContributor
    principalId: nodes.properties.principalId
    principalType: 'ServicePrincipal'
  }
}

resource card 'Microsoft.Network/networkInterfaces@2024-05-01' = {
  name: '${prefix}-cyclecloud-nic'
  location: location
  tags: tags
  properties: {
    ipConfigurations: [
      { name: 'inside', properties: { subnet: { id: subnetId }, privateIPAllocationMethod: 'Dynamic' } }
    ]
  }
}

resource server 'Microsoft.Compute/virtualMachines@2024-07-01' = {
  name: '${prefix}-cyclecloud'
  location: location
  tags: tags
  plan: image
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${orchestrator.id}': {} }
  }
  properties: {
    hardwareProfile: { vmSize: 'Standard_D4s_v5' }
    osProfile: {
      computerName: 'cyclecloud'
      adminUsername: 'cycleadmin'
      linuxConfiguration: {
        disablePasswordAuthentication: true
        ssh: { publicKeys: [{ path: '/home/cycleadmin/.ssh/authorized_keys', keyData: adminPublicKey }] }
      }
    }
    storageProfile: {
      imageReference: { publisher: image.publisher, offer: image.product, sku: image.name, version: 'latest' }
      osDisk: { createOption: 'FromImage', managedDisk: { storageAccountType: 'Premium_LRS' } }
      dataDisks: [
        { lun: 0, createOption: 'FromImage', caching: 'ReadOnly', managedDisk: { storageAccountType: 'Premium_LRS' } }
      ]
    }
    networkProfile: { networkInterfaces: [{ id: card.id }] }
  }
}

output address string = 'https://${card.properties.ipConfigurations[0].properties.privateIPAddress}'
output nodeIdentityId string = nodes.id
