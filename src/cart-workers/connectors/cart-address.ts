import dns from 'node:dns';
import net from 'node:net';

import ipaddr from 'ipaddr.js';

import { CartUrlRefusedError } from './cart-error.js';

/**
 * Which addresses a cart's URL may lead to. A merchant types the URL, so without a limit it could make this server call
 * its own network. A name is resolved here and only allowed addresses are handed to the socket; the address that the
 * socket is connected to is checked once more before anything is written, so a name that changes its answer cannot pass.
 */
export function parseCartUrl(text: string, allowPrivateAddress: boolean): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw new CartUrlRefusedError('the URL of the cart cannot be read', { cause });
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new CartUrlRefusedError('the URL of the cart must begin with http:// or https://');
  if (url.username !== '' || url.password !== '')
    throw new CartUrlRefusedError('the URL of the cart must not contain a user or password');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (net.isIP(host) !== 0 && !addressIsAllowed(host, allowPrivateAddress)) throw refused(url.host);
  return url;
}

/** Only ordinary public addresses pass, unless private ones are allowed; an unknown address never does. */
export function addressIsAllowed(address: string | undefined, allowPrivateAddress: boolean): boolean {
  if (address === undefined || !ipaddr.isValid(address)) return false;
  return allowPrivateAddress || ipaddr.process(address).range() === 'unicast';
}

/** A `lookup` for sockets that answers with allowed addresses only. */
export function lookupAllowed(allowPrivateAddress: boolean): net.LookupFunction {
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) {
        callback(error, []);
        return;
      }
      const allowed = addresses.filter(({ address }) => addressIsAllowed(address, allowPrivateAddress));
      const first = allowed[0];
      if (!first) callback(refused(hostname), []);
      else if (options.all) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

function refused(host: string): CartUrlRefusedError {
  return new CartUrlRefusedError(`${host} is at a private address, which this cart is not allowed to use`);
}
