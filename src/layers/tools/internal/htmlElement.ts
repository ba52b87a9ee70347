/** The part of a parsed element's interface that is used. */
export interface Element {
  readonly nodeName: string
  readonly nodeType: number
  readonly textContent: string | null
  readonly parentNode: Element | null
  readonly childNodes: ArrayLike<Element>
  readonly ownerDocument: { readonly getElementsByTagName: (name: string) => ArrayLike<Element> }
  readonly getAttribute: (name: string) => string | null
  readonly hasAttribute: (name: string) => boolean
  readonly getElementsByTagName: (name: string) => ArrayLike<Element>
}

/** The children that are elements, not texts or comments. */
export const childElements = (element: Element): ReadonlyArray<Element> =>
  Array.from(element.childNodes).filter(({ nodeType }) => nodeType === 1)
