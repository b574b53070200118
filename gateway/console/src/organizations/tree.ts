import type { Organization } from '@/api/types'

export interface TreeNode {
  organization: Organization
  children: TreeNode[]
}

/** Nests a flat list. What has no visible parent is a root; siblings are in order of their path. */
export function buildTree(items: readonly Organization[]): TreeNode[] {
  const nodes = new Map(
    items.map((organization) => [organization.id, { organization, children: [] } as TreeNode]),
  )
  const roots: TreeNode[] = []
  for (const node of nodes.values()) {
    const { parent } = node.organization
    const above = parent ? nodes.get(parent) : undefined
    if (above && above !== node) above.children.push(node)
    else roots.push(node)
  }
  const inOrder = (a: TreeNode, b: TreeNode) =>
    a.organization.path.localeCompare(b.organization.path, 'en', { numeric: true })
  for (const node of nodes.values()) node.children.sort(inOrder)
  return roots.sort(inOrder)
}
