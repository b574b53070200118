import type { Organization } from '@/api/types'
import type { TreeNode } from './tree'

export interface Row {
  organization: Organization
  depth: number
  hasChildren: boolean
}

/** The visible rows of a tree, top down, without what lies below a folded row. */
export function flatten(
  nodes: readonly TreeNode[],
  folded: ReadonlySet<string>,
  depth = 0,
): Row[] {
  return nodes.flatMap(({ organization, children }) => {
    const row = { organization, depth, hasChildren: children.length > 0 }
    const below = folded.has(organization.id) ? [] : flatten(children, folded, depth + 1)
    return [row, ...below]
  })
}
